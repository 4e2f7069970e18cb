-- New orders, at the time of the transaction.
-- $1 bigint[] ids, $2 bigint[] users, $3 bigint[] totals, $4 timestamptz[] expiries
INSERT INTO orders (id, user_id, status, total_cents, created_at, updated_at, expires_at)
SELECT n.id, n.user_id, 'pending', n.total_cents, now(), now(), n.expires_at
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS n (id, user_id, total_cents, expires_at)
