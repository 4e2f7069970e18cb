-- What a sale has to know of products besides their stock, which has to be locked: what is read here
-- then holds until COMMIT, and for as long as `shelf_version` stays what it was under that lock.
-- $1 bigint[] products
-- Row: id, name, price_cents, removed. Served by products_pkey.
SELECT id, name, price_cents, deleted_at IS NOT NULL
FROM products
WHERE id = ANY($1::bigint[])
