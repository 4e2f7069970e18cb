-- An import that was begun before.
-- $1 text id
-- Row: finished_at, null while it is not finished. No row: none has this id.
-- Served by imports_pkey.
SELECT finished_at FROM imports WHERE id = $1
