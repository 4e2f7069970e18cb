-- The lines of new orders.
-- $1 bigint[] orders, $2 smallint[] line numbers, $3 bigint[] products, $4 text[] names, $5 bigint[] quantities, $6 bigint[] prices
INSERT INTO order_items (order_id, line_no, product_id, name, quantity, price_cents)
SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
