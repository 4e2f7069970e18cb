-- Removes rows of a run, the first so many.
-- $1 bigint run, $2 bigint most rows
-- Served by import_rows_pkey.
DELETE FROM import_rows
WHERE run = $1 AND line <= (
    SELECT max(line) FROM (SELECT line FROM import_rows WHERE run = $1 ORDER BY line LIMIT $2) first
)
