-- Writes what rows say of products whose stock is locked, at the time of the transaction.
-- $1 bigint run, $2 bigint after this line, $3 bigint up to this line, $4 bigint[] categories by their place,
-- $5 bigint[] lines, $6 bigint[] products
-- Served by import_rows_pkey and products_pkey.
UPDATE products p
SET name = coalesce(r.name, p.name),
    description = CASE WHEN r.sets_description THEN r.description ELSE p.description END,
    price_cents = coalesce(r.price_cents, p.price_cents),
    category_id = coalesce(($4::bigint[])[r.category_no], p.category_id),
    version = p.version + 1,
    updated_at = now()
FROM import_rows r JOIN unnest($5::bigint[], $6::bigint[]) AS n (line, id) USING (line)
WHERE r.run = $1 AND r.line > $2 AND r.line <= $3 AND p.id = n.id
