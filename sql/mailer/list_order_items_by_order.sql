-- The lines of a set of orders.
-- $1 bigint[] the orders
-- Row: order_id, name, quantity, price_cents, by order and line.
-- Served by order_items_pkey.
SELECT order_id, name, quantity, price_cents
FROM order_items
WHERE order_id = ANY($1::bigint[])
ORDER BY order_id, line_no
