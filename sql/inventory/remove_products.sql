-- Takes products out of the catalogue. Their stock stays, for what comes back.
-- $1 bigint[] products
UPDATE products SET deleted_at = now(), version = version + 1
WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL
