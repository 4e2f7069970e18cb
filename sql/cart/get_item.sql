-- One line of a cart, as get_cart.sql shows it.
-- $1 bigint cart, $2 bigint line
-- No row: no such line in this cart, or its product was deleted.
-- Served by cart_items_pkey, products_pkey, stock_pkey.
SELECT i.id, i.product_id, p.name, i.quantity, p.price_cents, s.quantity, i.added_at
FROM cart_items i
CROSS JOIN LATERAL (SELECT * FROM products WHERE id = i.product_id AND deleted_at IS NULL LIMIT 1) p
CROSS JOIN LATERAL (SELECT * FROM stock WHERE product_id = i.product_id LIMIT 1) s
WHERE i.cart_id = $1 AND i.id = $2
