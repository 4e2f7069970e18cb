-- Edits a category.
-- $1 bigint category, $2 text name (null keeps it), $3 boolean whether to set the description,
-- $4 text description
-- Row: id, name, description. No row: no such category.
-- A taken name breaks categories_name_key. Served by categories_pkey.
UPDATE categories
SET name = coalesce($2::text, name),
    description = CASE WHEN $3::boolean THEN $4::text ELSE description END,
    version = version + 1
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, name, description
