-- Waits until no other node migrates; the lock goes with the connection.
-- $1 bigint any number that no other program on the database locks
SELECT pg_advisory_lock($1)
