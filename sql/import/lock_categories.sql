-- Keeps the categories of the next rows from being removed meanwhile.
-- $1 bigint run, $2 bigint after this line, $3 bigint most rows, $4 bigint[] categories by their place
-- Row: id. No row: none of them is there, or not any more. Served by import_rows_pkey and categories_pkey.
SELECT id
FROM categories
WHERE deleted_at IS NULL AND id = ANY(ARRAY(
    SELECT DISTINCT ($4::bigint[])[r.category_no]
    FROM (SELECT category_no FROM import_rows WHERE run = $1 AND line > $2 ORDER BY line LIMIT $3) r
))
ORDER BY id
FOR SHARE
