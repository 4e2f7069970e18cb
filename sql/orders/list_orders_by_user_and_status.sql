-- A page of orders, newest first: a user's that stand alike.
-- $1 timestamptz and $2 bigint: the order before the page ('infinity' and the highest id for the first page), $3 bigint rows, $4 bigint user, $5 text status
-- Row: id, user_id, status, total_cents, created_at, updated_at, expires_at.
-- Served by orders_user_idx, filtered.
SELECT id, user_id, status, total_cents, created_at, updated_at, expires_at
FROM orders
WHERE (created_at, id) < ($1::timestamptz, $2::bigint) AND user_id = $4 AND status = $5
ORDER BY created_at DESC, id DESC
LIMIT $3::bigint
