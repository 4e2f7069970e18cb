-- What a sale has to know of products, as it was last committed; nothing is locked.
-- $1 bigint[] products
-- Row: product_id, quantity, version, shelf_version, name, price_cents, removed. No row: no such product, ever.
-- Served by stock_pkey and products_pkey.
SELECT s.product_id, s.quantity, s.version, s.shelf_version, p.name, p.price_cents, p.deleted_at IS NOT NULL
FROM stock s JOIN products p ON p.id = s.product_id
WHERE s.product_id = ANY($1::bigint[])
