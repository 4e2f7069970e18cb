-- Locks the carts that are being checked out, in user order, so that their lines stand still.
-- $1 bigint[] users
-- Row: id. Served by carts_user_key.
SELECT id FROM carts WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR NO KEY UPDATE
