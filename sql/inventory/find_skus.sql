-- Who has these skus now.
-- $1 text[] skus
-- Row: sku, id. No row: free. Served by products_sku_key.
SELECT sku, id FROM products WHERE sku = ANY($1::text[]) AND deleted_at IS NULL
