-- Removes all rows of a run at once, unless there are others, or somebody is at work on some.
-- $1 bigint run
-- Row (always one): whether they are gone.
-- Served by import_rows_pkey.
SELECT empty_import_rows($1)
