-- Whole catalogue rows, for the products that are being edited or corrected. Their stock is locked.
-- $1 bigint[] products
-- Row: id, sku, name, description, price_cents, category_id, version, created_at, updated_at.
-- No row: no such product, or not any more. Served by products_pkey.
SELECT id, sku, name, description, price_cents, category_id, version, created_at, updated_at
FROM products WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL
