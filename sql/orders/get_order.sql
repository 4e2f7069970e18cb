-- One order.
-- $1 bigint order
-- Row: id, user_id, status, total_cents, created_at, updated_at, expires_at. No row: no such order.
-- Served by orders_pkey.
SELECT id, user_id, status, total_cents, created_at, updated_at, expires_at
FROM orders WHERE id = $1
