-- What tells this database from every other, so that two shops may share a Redis.
-- Row: namespace, 32 hexadecimal digits.
SELECT md5(concat_ws(' ', h.applied_on, d.oid, d.datname)) AS namespace
FROM refinery_schema_history h, pg_database d
WHERE h.version = 1 AND d.datname = current_database()
