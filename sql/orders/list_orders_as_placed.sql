-- Orders as they were when they were placed, however they stand by now.
-- $1 bigint[] orders
-- Row: id, user_id, status, total_cents, created_at, updated_at, expires_at. No row: no such order.
-- Served by orders_pkey.
SELECT id, user_id, 'pending', total_cents, created_at, created_at, expires_at
FROM orders WHERE id = ANY($1::bigint[])
