-- The products of locked categories.
-- $1 bigint[] categories
-- Row: id, category_id. Served by products_category_idx.
SELECT id, category_id FROM products WHERE category_id = ANY($1::bigint[]) AND deleted_at IS NULL
