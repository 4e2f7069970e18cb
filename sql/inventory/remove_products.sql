-- Takes products out of the catalogue. Their stock stays, for what comes back, but leaves the lists
-- (products_note_shelf_change).
-- $1 bigint[] products, whose stock is locked
-- Served by products_pkey.
UPDATE products SET deleted_at = now(), version = version + 1
WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL
