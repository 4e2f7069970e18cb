-- Begins an attempt: draws its number, locks it for as long as this connection lives, has the
-- server notice within a minute if the other end is gone, and gives the connection's statements, which
-- touch no row of anybody else's, more time.
-- $1 integer the class of these locks, $2 text the time of a statement
-- Row (always one): run.
SELECT run, pg_advisory_lock($1::integer, (run & 2147483647)::integer),
       set_config('tcp_keepalives_idle', '20', false), set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '4', false), set_config('statement_timeout', $2::text, false)
FROM (SELECT nextval('import_runs') AS run OFFSET 0) drawn
