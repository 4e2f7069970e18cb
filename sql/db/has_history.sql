-- Whether any migration was ever applied.
-- Row (always one): boolean.
SELECT to_regclass('refinery_schema_history') IS NOT NULL
