-- The first run after another one whose rows lie about although nobody works on it, locked for as
-- long as this connection lives.
-- $1 bigint after this run, $2 integer the class of the locks
-- Row (always one): run, null when there are no further rows; is_ours, false when it is under way.
-- Served by import_rows_pkey.
SELECT run, coalesce(pg_try_advisory_lock($2::integer, (run & 2147483647)::integer), false) AS is_ours
FROM (SELECT min(run) AS run FROM import_rows WHERE run > $1) next
