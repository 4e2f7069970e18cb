-- The lines of a cart with what there is of each product now; lines of deleted products are gone.
-- $1 bigint cart
-- Row: id, product_id, name, quantity, price_cents, available, added_at.
-- Served by cart_items_product_key, products_pkey, stock_pkey.
SELECT i.id, i.product_id, p.name, i.quantity, p.price_cents, s.quantity, i.added_at
FROM cart_items i
JOIN products p ON p.id = i.product_id AND p.deleted_at IS NULL
JOIN stock s ON s.product_id = i.product_id
WHERE i.cart_id = $1
ORDER BY i.id
