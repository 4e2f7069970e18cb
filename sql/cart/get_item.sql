-- One line of a cart, as get_cart.sql shows it.
-- $1 bigint cart, $2 bigint line
-- No row: no such line in this cart, or its product was deleted. Served by cart_items_pkey.
SELECT i.id, i.product_id, p.name, i.quantity, p.price_cents, s.quantity, i.added_at
FROM cart_items i
JOIN products p ON p.id = i.product_id AND p.deleted_at IS NULL
JOIN stock s ON s.product_id = i.product_id
WHERE i.cart_id = $1 AND i.id = $2
