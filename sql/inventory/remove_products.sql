-- Takes products out of the catalogue. Their stock stays, for what comes back, but leaves the lists.
-- $1 bigint[] products, whose stock is locked
WITH removed AS (
    UPDATE products SET deleted_at = now(), version = version + 1
    WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL
    RETURNING id
)
UPDATE stock SET listed = false FROM removed WHERE product_id = removed.id
