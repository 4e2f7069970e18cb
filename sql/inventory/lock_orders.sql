-- Locks the orders that are to move, in id order.
-- $1 bigint[] orders
-- Row: id, user_id, status, total_cents, created_at, updated_at, expires_at. No row: no such order.
-- Served by orders_pkey.
SELECT id, user_id, status, total_cents, created_at, updated_at, expires_at
FROM orders WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE
