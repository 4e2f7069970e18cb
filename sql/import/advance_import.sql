-- Writes down how far a locked import has come.
-- $1 text id, $2 bigint line, $3 bigint created, $4 bigint updated, $5 bigint unchanged, $6 bigint refused
-- Served by imports_pkey.
UPDATE imports
SET done_line = $2, created = $3, updated = $4, unchanged = $5, refused = $6, updated_at = now()
WHERE id = $1
