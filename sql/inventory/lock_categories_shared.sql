-- Keeps the categories that products are being put into from being removed meanwhile.
-- $1 bigint[] categories
-- Row: id. No row: no such category, or not any more. Served by categories_pkey.
SELECT id FROM categories WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL ORDER BY id FOR SHARE
