-- Names that begin with a text, in any case, each once, by name; and the first product of each.
-- $1 text the beginning, $2 bigint the most names
-- Row: id, name. No row: none begins so.
-- Served by products_name_form_idx: one entry is looked up for each name, whatever many products have it.
WITH RECURSIVE bounds AS (
    SELECT search_form($1::text) COLLATE "C" AS low,
           -- Names have 100 characters at the most, of which this is the last.
           (search_form($1::text) || repeat(chr(1114111), 100)) COLLATE "C" AS high
), names AS (
    (
        SELECT p.id, p.name, search_form(p.name) COLLATE "C" AS form, 1 AS place
        FROM products p
        WHERE p.deleted_at IS NULL
          AND search_form(p.name) COLLATE "C" >= (SELECT low FROM bounds)
          AND search_form(p.name) COLLATE "C" < (SELECT high FROM bounds)
        ORDER BY search_form(p.name) COLLATE "C", p.id
        LIMIT 1
    )
    UNION ALL
    SELECT next.id, next.name, next.form, n.place + 1
    FROM names n
    CROSS JOIN LATERAL (
        SELECT p.id, p.name, search_form(p.name) COLLATE "C" AS form
        FROM products p
        WHERE p.deleted_at IS NULL
          AND search_form(p.name) COLLATE "C" > n.form
          AND search_form(p.name) COLLATE "C" < (SELECT high FROM bounds)
        ORDER BY search_form(p.name) COLLATE "C", p.id
        LIMIT 1
    ) next
    WHERE n.place < $2::bigint
)
SELECT id, name FROM names ORDER BY place
