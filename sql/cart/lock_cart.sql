-- A user's cart, locked, so that its lines change one request at a time on all nodes.
-- $1 bigint user
-- Row: id. No row: no such user. Served by carts_user_key.
SELECT id FROM carts WHERE user_id = $1 FOR NO KEY UPDATE
