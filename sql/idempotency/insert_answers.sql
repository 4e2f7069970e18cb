-- Stores the answers of the requests that this transaction carries out. A twin that committed in
-- the meantime makes this break idempotency_keys_key.
-- $1 bigint[] users, $2 text[] paths, $3 text[] keys, $4 bytea[] request hashes, $5 smallint[] statuses, $6 text[] bodies,
-- $7 bigint[] orders (null but for placed orders, whose body is empty)
INSERT INTO idempotency_keys (user_id, path, key, request_hash, status, body, order_id)
SELECT n.*
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::smallint[], $6::text[], $7::bigint[])
     AS n (user_id, path, key, request_hash, status, body, order_id)
-- Two transactions that have several keys in common wait for each other in one direction.
ORDER BY n.user_id, n.key COLLATE "C", n.path COLLATE "C"
