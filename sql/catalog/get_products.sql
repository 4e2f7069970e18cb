-- Products with their stock, and the number of the last event that this snapshot shows.
-- $1 bigint[] products
-- Row: last_seq, id, sku, name, description, price_cents, category_id, quantity, created_at,
-- updated_at, version, stock_version. There is always a row; its id is null when there are none of
-- these products.
-- Served by products_pkey and stock_pkey.
SELECT e.last_seq, p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version
FROM event_counter e
LEFT JOIN (products p JOIN stock s ON s.product_id = p.id)
       ON p.id = ANY ($1::bigint[]) AND p.deleted_at IS NULL
