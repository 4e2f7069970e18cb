-- New products, at the time of the transaction; by line, and so by id, which is the cheapest order for
-- most of their indexes.
-- $1 bigint run, $2 bigint after this line, $3 bigint up to this line, $4 bigint[] categories by their place,
-- $5 bigint[] lines, $6 bigint[] ids
-- Breaks products_sku_key where a sku has just been taken. Served by import_rows_pkey.
INSERT INTO products (id, sku, name, description, price_cents, category_id)
SELECT n.id, r.sku, r.name, r.description, r.price_cents, ($4::bigint[])[r.category_no]
FROM import_rows r JOIN unnest($5::bigint[], $6::bigint[]) AS n (line, id) USING (line)
WHERE r.run = $1 AND r.line > $2 AND r.line <= $3
ORDER BY r.line
