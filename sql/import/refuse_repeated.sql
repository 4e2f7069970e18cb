-- Takes out the rows whose sku an earlier row has.
-- $1 bigint run, $2 bigint most rows to tell of
-- Row: line, the line of the earlier row, how many there are in all; by line. No row: every sku is there once.
-- Sorts the whole run by sku, on disk where it is large.
WITH ranked AS (
    SELECT line, first_value(line) OVER (PARTITION BY sku COLLATE "C" ORDER BY line) AS first_line
    FROM import_rows
    WHERE run = $1
), repeated AS (
    DELETE FROM import_rows r USING ranked d
    WHERE d.line > d.first_line AND r.run = $1 AND r.line = d.line
    RETURNING r.line, d.first_line
)
SELECT line, first_line, count(*) OVER () FROM repeated ORDER BY line LIMIT $2
