-- Lets one transaction at a time add categories, so that their number is exact when it is checked.
-- $1 bigint the lock
SELECT pg_advisory_xact_lock($1)
