-- For every product, deleted ones included: what was put in, less what live orders hold or took, must
-- be its stock. One statement, so one snapshot: it holds in the middle of a sale, too.
-- Row: checked_at, products, orders, units_in, units_out, then for each product that does not add up
-- product_id, sku, name, expected, actual; one row with nulls there when all do.
-- Reads every line of every order, on purpose.
WITH put_in AS (
    SELECT product_id, sum(delta)::bigint AS units FROM stock_entries GROUP BY product_id
), taken AS (
    SELECT i.product_id, sum(i.quantity)::bigint AS units
    FROM order_items i JOIN orders o ON o.id = i.order_id
    WHERE o.status NOT IN ('cancelled', 'expired')
    GROUP BY i.product_id
), books AS (
    SELECT product_id, coalesce(p.units, 0) AS units_in, coalesce(t.units, 0) AS units_out, s.quantity AS actual
    FROM stock s FULL JOIN put_in p USING (product_id) FULL JOIN taken t USING (product_id)
), totals AS (
    SELECT count(*) AS products, coalesce(sum(units_in), 0)::bigint AS units_in, coalesce(sum(units_out), 0)::bigint AS units_out
    FROM books
), wrong AS (
    SELECT b.product_id, p.sku, p.name, b.units_in - b.units_out AS expected, b.actual
    FROM books b LEFT JOIN products p ON p.id = b.product_id
    WHERE b.actual IS DISTINCT FROM b.units_in - b.units_out
)
SELECT now(), t.products, (SELECT count(*) FROM orders), t.units_in, t.units_out,
       w.product_id, w.sku, w.name, w.expected, w.actual
FROM totals t LEFT JOIN wrong w ON true
ORDER BY w.product_id
