-- The next rows, each with the product that it is about. After lock_stock, it sees what was committed
-- while that one waited.
-- $1 bigint run, $2 bigint after this line, $3 bigint most rows, $4 bigint[] categories by their place,
-- $5 boolean whether to draw ids for new products
-- Row: line, product (null: the sku is new), new id (null: known, or none drawn), whether there is a
-- name, price_cents, category_no, stock, stock_delta, quantity, the product's price_cents, whether the
-- catalogue row changes; by line. No row: no rows are left.
-- Served as lock_stock.
SELECT line, id, CASE WHEN id IS NULL AND $5::boolean THEN nextval('products_id_seq') END AS new_id,
       has_name, price_cents, category_no, stock, stock_delta, quantity, price_now, is_edited
FROM (
    SELECT r.line, p.id, r.name IS NOT NULL AS has_name, r.price_cents, r.category_no, r.stock, r.stock_delta,
           p.quantity, p.price_cents AS price_now,
           p.id IS NOT NULL AND (
               coalesce(r.name <> p.name, false)
               OR coalesce(r.price_cents <> p.price_cents, false)
               OR coalesce(($4::bigint[])[r.category_no] <> p.category_id, false)
               OR (r.sets_description AND r.description IS DISTINCT FROM p.description)
           ) AS is_edited
    FROM (SELECT * FROM import_rows WHERE run = $1 AND line > $2 ORDER BY line LIMIT $3) r
    LEFT JOIN LATERAL (
        SELECT p.id, p.name, p.description, p.price_cents, p.category_id, s.quantity
        FROM products p JOIN stock s ON s.product_id = p.id
        WHERE p.sku = r.sku AND p.deleted_at IS NULL
        LIMIT 1
    ) p ON true
    ORDER BY r.line
) resolved
