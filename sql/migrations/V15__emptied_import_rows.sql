-- What many rows of an import leave behind is gone at once, instead of being deleted row by row and swept up after.

-- Empties the table of staged rows if nobody but this run has any there, and nobody is at work on it; tells whether
-- it did. Waits for nobody, since others would have to wait behind it.
CREATE FUNCTION empty_import_rows(only_run bigint) RETURNS boolean
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    LOCK TABLE import_rows IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF EXISTS (SELECT FROM import_rows WHERE run < only_run)
        OR EXISTS (SELECT FROM import_rows WHERE run > only_run) THEN
        RETURN false;
    END IF;
    TRUNCATE import_rows;
    RETURN true;
EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
    RETURN false;
END
$$;
