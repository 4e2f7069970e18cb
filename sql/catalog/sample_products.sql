-- Products from all over the catalogue: the next one from each of so many evenly spread ids on, by
-- which it can be guessed how many there are of a kind, and where.
-- $1 bigint how many ids, $2 integer the most characters of a text
-- Row: id, search_text, category_id, price_cents, quantity, name, created_at, by id; span, the ids
-- from the first product to the last; total, the products at the last count, deleted ones included,
-- -1 when they were never counted. No row: no products.
-- Served by products_id_idx and stock_pkey.
WITH ends AS (
    SELECT (SELECT id FROM products WHERE deleted_at IS NULL ORDER BY id LIMIT 1) AS low,
           (SELECT id FROM products WHERE deleted_at IS NULL ORDER BY id DESC LIMIT 1) AS high
)
SELECT DISTINCT ON (p.id)
       p.id, left(p.search_text, $2::integer) AS search_text, p.category_id, p.price_cents, s.quantity,
       p.name, p.created_at, e.high - e.low + 1 AS span,
       (SELECT reltuples::bigint FROM pg_class WHERE oid = 'products'::regclass) AS total
FROM ends e
CROSS JOIN generate_series(0, $1::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT * FROM products p
    WHERE p.deleted_at IS NULL AND p.id >= e.low + (e.high - e.low) * n / greatest($1::bigint - 1, 1)
    ORDER BY p.id
    LIMIT 1
) p
JOIN stock s ON s.product_id = p.id
ORDER BY p.id
