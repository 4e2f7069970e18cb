-- A user's cart.
-- $1 bigint user
-- Row: id, created_at. No row: no such user. Served by carts_user_key.
SELECT id, created_at FROM carts WHERE user_id = $1
