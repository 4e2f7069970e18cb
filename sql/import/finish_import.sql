-- Marks an import as done.
-- $1 text id, $2 bigint run, $3 bigint rows whose sku an earlier row has
-- Served by imports_pkey.
UPDATE imports SET finished_at = now(), updated_at = now(), repeated = $3
WHERE id = $1 AND run = $2 AND finished_at IS NULL
