-- The categories of products, deleted ones included.
-- $1 bigint[] the products
-- Row: id, category_id. No row: no such product.
-- Served by products_pkey.
SELECT id, category_id FROM products WHERE id = ANY($1::bigint[])
