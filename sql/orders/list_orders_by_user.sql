-- A page of orders, newest first: a user's.
-- $1 timestamptz and $2 bigint: the order before the page ('infinity' and the highest id for the first page), $3 bigint rows, $4 bigint user
-- Row: id, user_id, status, total_cents, created_at, updated_at, expires_at.
-- Served by orders_user_idx.
SELECT id, user_id, status, total_cents, created_at, updated_at, expires_at
FROM orders
WHERE (created_at, id) < ($1::timestamptz, $2::bigint) AND user_id = $4
ORDER BY created_at DESC, id DESC
LIMIT $3::bigint
