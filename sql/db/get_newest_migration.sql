-- The newest migration applied, where any was.
-- Row (always one): version.
SELECT max(version) FROM refinery_schema_history
