-- The categories that have one of these names or ids.
-- $1 text[] names, $2 bigint[] ids
-- Row: id, name. No row: there is none.
-- Served by categories_name_key and categories_pkey.
SELECT id, name FROM categories WHERE deleted_at IS NULL AND (name = ANY($1::text[]) OR id = ANY($2::bigint[]))
