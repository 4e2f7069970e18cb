-- Products whose name begins with a text, in any case, by name and then by id, from a position on. Looks
-- at no more than so many of them, in the order of the index; what else is asked for is compared.
-- $1 text the beginning, $2 text and $3 bigint the form of the name and the id just before the position,
-- $4 bigint[] categories, all when empty, $5 bigint lowest price or null, $6 bigint highest price or null,
-- $7 boolean only what is in stock, $8 bigint the most to look at, $9 bigint the most rows
-- Row: id, sku, name, description, price_cents, category_id, quantity, created_at, updated_at, version,
-- stock_version; form: of the name; fits: whether it belongs to the list; is_end: whether the search broke
-- off at this row, which is told even if it does not fit.
-- Served by products_name_form_idx and stock_pkey. The bounds come out of subqueries, so that the planner
-- does not know how few names there are between them, and takes them in order.
SELECT p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity, p.created_at,
       p.updated_at, p.version, s.version AS stock_version, p.form, p.fits AND (s.quantity > 0 OR NOT $7) AS fits,
       p.is_end
FROM (
    SELECT p.*, search_form(p.name) COLLATE "C" AS form,
           (cardinality($4::bigint[]) = 0 OR p.category_id = ANY ($4::bigint[]))
           AND ($5::bigint IS NULL OR p.price_cents >= $5) AND ($6::bigint IS NULL OR p.price_cents <= $6) AS fits,
           row_number() OVER (ORDER BY search_form(p.name) COLLATE "C", p.id) = $8 AS is_end
    FROM products p
    WHERE p.deleted_at IS NULL
      AND (search_form(p.name) COLLATE "C", p.id)
          > ((SELECT greatest(search_form($1::text), $2::text COLLATE "C")), (SELECT $3::bigint))
      AND search_form(p.name) COLLATE "C" < (SELECT search_form($1::text) || repeat(chr(1114111), 100))
    ORDER BY search_form(p.name) COLLATE "C", p.id
    LIMIT $8
) p
CROSS JOIN LATERAL (SELECT s.quantity, s.version FROM stock s WHERE s.product_id = p.id LIMIT 1) s
WHERE (p.fits AND (s.quantity > 0 OR NOT $7)) OR p.is_end
ORDER BY p.form, p.id
LIMIT $9
