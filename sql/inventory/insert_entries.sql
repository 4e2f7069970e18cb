-- Writes down changes of stock that are no orders.
-- $1 bigint[] products, $2 bigint[] deltas, $3 text[] reasons, $4 bigint[] users (null: the command line)
INSERT INTO stock_entries (product_id, delta, reason, by_user)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[])
