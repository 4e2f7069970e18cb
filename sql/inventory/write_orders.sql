-- Writes new orders, and then the stocks that the batch came to, at the time of the transaction. One
-- statement, since each costs both sides a turn of its own; any part may be empty.
-- The rows of the stocks are locked already, or else it is told what each is expected to be: where one is
-- not, or is not there, it fails with serialization_failure. Then what a stock loses is taken from what it
-- is, since a version says little: one that a failed transaction was to give is given again by the next. And
-- rows are locked by product, as the arrays are. The CHECK on `stock` is the last word on overselling.
-- $1 bigint[] products, $2 bigint[] their stock
-- $3 bigint[] their stock before, $4 bigint[] versions and $5 bigint[] shelf versions before; empty where rows are locked
-- $6 bigint[] orders, $7 bigint[] users, $8 bigint[] totals in cents, $9 bigint microseconds that they hold their stock
-- $10 bigint[] orders of the lines, $11 smallint[] line numbers, $12 bigint[] products, $13 text[] names,
-- $14 bigint[] quantities, $15 bigint[] prices in cents
-- Row (always one): true.
-- Served by stock_pkey.
WITH placed AS (
    INSERT INTO orders (id, user_id, status, total_cents, created_at, updated_at, expires_at)
    SELECT n.id, n.user_id, 'pending', n.total_cents, now(), now(), now() + $9::bigint * interval '1 microsecond'
    FROM unnest($6::bigint[], $7::bigint[], $8::bigint[]) AS n (id, user_id, total_cents)
    RETURNING 1
), lines AS (
    INSERT INTO order_items (order_id, line_no, product_id, name, quantity, price_cents)
    SELECT * FROM unnest($10::bigint[], $11::smallint[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[])
    RETURNING 1
), counted AS (
    UPDATE stock s SET quantity = n.quantity + coalesce(s.quantity - n.before, 0), version = s.version + 1
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
         AS n (product_id, quantity, before, version, shelf_version)
    WHERE s.product_id = n.product_id
      -- True, but not before orders and lines are written: meanwhile nobody is kept waiting for a stock.
      AND (SELECT count(*) FROM placed) + (SELECT count(*) FROM lines) >= 0
    RETURNING n.before IS NULL
           OR (s.quantity, s.version, s.shelf_version) = (n.quantity, n.version + 1, n.shelf_version) AS is_expected
)
SELECT insist(count(*) = cardinality($1::bigint[]) AND coalesce(bool_and(is_expected), true)) FROM counted
