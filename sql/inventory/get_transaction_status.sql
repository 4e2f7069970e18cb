-- What became of a transaction whose COMMIT was not answered.
-- $1 text xid
-- Row (always one): status: 'in progress', 'committed', 'aborted', null when too old to know.
SELECT pg_xact_status($1::text::xid8)
