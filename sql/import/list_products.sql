-- The next products of the catalogue, as an export shows them.
-- $1 bigint after this product, $2 bigint most rows
-- Row: id, sku, name, description, category's name, price_cents, quantity; by id. No row: no more.
-- Served by products_pkey, stock_pkey and categories_pkey.
SELECT p.id, p.sku, p.name, p.description, c.name, p.price_cents, s.quantity
FROM products p
JOIN stock s ON s.product_id = p.id
JOIN categories c ON c.id = p.category_id
WHERE p.id > $1 AND p.deleted_at IS NULL
ORDER BY p.id
LIMIT $2
