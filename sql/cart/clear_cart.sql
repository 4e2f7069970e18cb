-- Takes every line out of a locked cart.
-- $1 bigint cart
-- Served by cart_items_product_key.
DELETE FROM cart_items WHERE cart_id = $1
