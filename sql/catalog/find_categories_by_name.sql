-- The categories with these names.
-- $1 text[] names
-- Row: id, name. No row: no category of that name.
-- Served by categories_name_key.
SELECT id, name FROM categories WHERE name = ANY ($1::text[]) AND deleted_at IS NULL
