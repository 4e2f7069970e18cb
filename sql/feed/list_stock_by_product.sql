-- Stock and price of products together with the log's position: the snapshot shows every event up
-- to last_seq and none after it.
-- $1 bigint[] the products
-- Row: last_seq, id, quantity, price_cents, by id. One row with only last_seq: none of them is in
-- the catalogue.
-- Served by products_pkey and stock_pkey.
SELECT c.last_seq, l.id, l.quantity, l.price_cents
FROM event_counter c
LEFT JOIN LATERAL (
    SELECT p.id, s.quantity, p.price_cents
    FROM products p JOIN stock s ON s.product_id = p.id
    WHERE p.id = ANY($1::bigint[]) AND p.deleted_at IS NULL
) l ON true
ORDER BY l.id
