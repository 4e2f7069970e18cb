-- The lines of a page of orders.
-- $1 bigint[] orders
-- Row: order_id, line_no, product_id, name, quantity, price_cents. Served by order_items_pkey.
SELECT order_id, line_no, product_id, name, quantity, price_cents
FROM order_items WHERE order_id = ANY($1::bigint[]) ORDER BY order_id, line_no
