-- Writes the stocks that the batch came to, on rows it has locked, and its new orders, at the time of
-- the transaction, and takes the lines that became orders out of their carts. One statement, since each costs both
-- sides a turn of its own; any part may be empty.
-- The CHECK on `stock` is the last word on overselling.
-- $1 bigint[] products, $2 bigint[] their stock
-- $3 bigint[] orders, $4 bigint[] users, $5 bigint[] totals in cents, $6 timestamptz[] ends of their holds
-- $7 bigint[] orders of the lines, $8 smallint[] line numbers, $9 bigint[] products, $10 text[] names,
-- $11 bigint[] quantities, $12 bigint[] prices in cents
-- $13 bigint[] lines of carts that became orders
-- Served by stock_pkey, cart_items_pkey.
WITH counted AS (
    UPDATE stock s SET quantity = n.quantity, version = s.version + 1
    FROM unnest($1::bigint[], $2::bigint[]) AS n (product_id, quantity)
    WHERE s.product_id = n.product_id
), placed AS (
    INSERT INTO orders (id, user_id, status, total_cents, created_at, updated_at, expires_at)
    SELECT n.id, n.user_id, 'pending', n.total_cents, now(), now(), n.expires_at
    FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[]) AS n (id, user_id, total_cents, expires_at)
), emptied AS (
    DELETE FROM cart_items WHERE id = ANY($13::bigint[])
)
INSERT INTO order_items (order_id, line_no, product_id, name, quantity, price_cents)
SELECT * FROM unnest($7::bigint[], $8::smallint[], $9::bigint[], $10::text[], $11::bigint[], $12::bigint[])
