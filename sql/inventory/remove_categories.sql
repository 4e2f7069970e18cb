-- Takes categories out of the catalogue.
-- $1 bigint[] categories
UPDATE categories SET deleted_at = now(), version = version + 1
WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL
