-- Empties the carts that became orders.
-- $1 bigint[] users
-- Served by carts_user_key and cart_items_product_key.
DELETE FROM cart_items WHERE cart_id = ANY(SELECT id FROM carts WHERE user_id = ANY($1::bigint[]))
