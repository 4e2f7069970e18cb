-- Writes the stocks that the batch came to, on rows it has locked. The CHECK on the table is the
-- last guard against selling what is not there.
-- $1 bigint[] products, $2 bigint[] quantities
UPDATE stock s SET quantity = n.quantity, version = s.version + 1
FROM unnest($1::bigint[], $2::bigint[]) AS n (product_id, quantity)
WHERE s.product_id = n.product_id
