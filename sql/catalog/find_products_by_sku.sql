-- The products with these skus, with their stock.
-- $1 text[] skus
-- Row: id, sku, name, description, price_cents, category_id, quantity, created_at, updated_at,
-- version, stock_version. No row: no product, or only a deleted one, has that sku.
-- Served by products_sku_key and stock_pkey.
SELECT p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version
FROM products p
JOIN stock s ON s.product_id = p.id
WHERE p.sku = ANY ($1::text[]) AND p.deleted_at IS NULL
