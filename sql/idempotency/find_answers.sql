-- The answers stored for a set of keys. A key counts for as long as its row is there; pruning
-- removes it some time after its 24 hours.
-- $1 bigint[] users, $2 text[] paths, $3 text[] keys (of equal length)
-- Row: ordinal (from 1, the position in the arrays), request_hash, status, body, order_id (null unless the
-- answer was a placed order; body is empty then). No row: never answered.
-- Served by idempotency_keys_key.
SELECT wanted.ordinal, k.request_hash, k.status, k.body, k.order_id
FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (user_id, path, key, ordinal)
JOIN idempotency_keys k ON k.user_id = wanted.user_id AND k.path = wanted.path AND k.key = wanted.key
