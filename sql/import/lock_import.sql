-- Locks an import against other attempts and the chunks behind, and tells how far it has come.
-- $1 text id, $2 bigint run
-- Row: done_line, created, updated, unchanged, refused, the transaction's id. No row: another attempt has taken it up.
-- Served by imports_pkey.
SELECT done_line, created, updated, unchanged, refused, pg_current_xact_id()::text
FROM imports WHERE id = $1 AND run = $2 FOR NO KEY UPDATE
