-- Makes a category, unless there are enough.
-- $1 text name, $2 text description, $3 bigint the most categories there may be
-- Row: id, name, description. No row: there are that many already.
-- A taken name breaks categories_name_key.
INSERT INTO categories (name, description)
SELECT $1::text, $2::text
WHERE (SELECT count(*) FROM categories WHERE deleted_at IS NULL) < $3
RETURNING id, name, description
