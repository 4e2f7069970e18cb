-- First stock of new products.
-- $1 bigint[] products, $2 bigint[] quantities, $3 bigint[] categories
INSERT INTO stock (product_id, quantity, category_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
