-- A page of stock and price of categories' products together with the log's position: the snapshot
-- shows every event up to last_seq and none after it.
-- $1 bigint[] the categories, $2 bigint after this product, $3 bigint most rows
-- Row: last_seq, id, quantity, price_cents, by id. One row with only last_seq: no more products.
-- Served by products_category_idx and stock_pkey.
SELECT c.last_seq, l.id, l.quantity, l.price_cents
FROM event_counter c
LEFT JOIN LATERAL (
    SELECT p.id, s.quantity, p.price_cents
    FROM products p JOIN stock s ON s.product_id = p.id
    WHERE p.category_id = ANY($1::bigint[]) AND p.id > $2 AND p.deleted_at IS NULL
    ORDER BY p.id
    LIMIT $3
) l ON true
ORDER BY l.id
