-- Locks the stock of every known product that the next rows change, in product order, as every batch
-- does. What a row says already is so at this moment, and not locked.
-- $1 bigint run, $2 bigint after this line, $3 bigint most rows, $4 bigint[] categories by their place
-- Row: product_id. No row: nothing known changes.
-- Served by import_rows_pkey, products_sku_key and stock_pkey; laterally, one row at a time, since without
-- statistics a table that has just grown is taken for small.
SELECT product_id
FROM stock
WHERE product_id = ANY(ARRAY(
    SELECT p.id
    FROM (SELECT * FROM import_rows WHERE run = $1 AND line > $2 ORDER BY line LIMIT $3) r
    CROSS JOIN LATERAL (
        SELECT p.id, p.name, p.description, p.price_cents, p.category_id, s.quantity
        FROM products p JOIN stock s ON s.product_id = p.id
        WHERE p.sku = r.sku AND p.deleted_at IS NULL
        LIMIT 1
    ) p
    WHERE r.stock <> p.quantity
       OR r.stock_delta <> 0
       OR r.name <> p.name
       OR r.price_cents <> p.price_cents
       OR ($4::bigint[])[r.category_no] <> p.category_id
       OR (r.sets_description AND r.description IS DISTINCT FROM p.description)
))
ORDER BY product_id
FOR NO KEY UPDATE
