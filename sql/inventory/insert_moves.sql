-- Writes down what happened to orders. The primary key forbids the same thing twice.
-- $1 bigint[] orders, $2 text[] events, $3 bigint[] users (null: the shop itself)
INSERT INTO order_moves (order_id, event, at, by_user)
SELECT n.order_id, n.event, now(), n.by_user
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS n (order_id, event, by_user)
