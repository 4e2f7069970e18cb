-- Locks and reads the lines of carts, in the order they were put in. A line that is put in meanwhile
-- stays in the cart; one that is changed is read as it is then.
-- $1 bigint[] users
-- Row: user_id, line id, product_id, quantity. No row: nothing in the cart.
-- Served by carts_user_key and cart_items_product_key.
SELECT c.user_id, i.id, i.product_id, i.quantity
FROM carts c JOIN cart_items i ON i.cart_id = c.id
WHERE c.user_id = ANY($1::bigint[])
ORDER BY c.user_id, i.id
FOR UPDATE OF i
