-- First stock of new products.
-- $1 bigint[] products, $2 bigint[] quantities
INSERT INTO stock (product_id, quantity) SELECT * FROM unnest($1::bigint[], $2::bigint[])
