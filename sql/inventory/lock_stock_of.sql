-- As lock_stock.sql, where not every product is named outright; before the stocks it locks the lines of carts, in
-- the order they were put in. A line that is put in meanwhile stays in its cart; one that is changed is read as it
-- is then. One statement, since the carts would be looked up twice otherwise.
-- $1 bigint[] products named outright, $2 bigint[] users whose carts are checked out,
-- $3 bigint[] orders whose stock comes back, $4 bigint[] categories to be removed
-- Row, of a stock: product_id, quantity, version, shelf_version, null, null.
-- Row, of a line: product_id, quantity wanted, null, null, user_id, line id.
-- Served by stock_pkey, carts_user_key, cart_items_product_key, order_items_pkey, products_category_idx. The
-- array keeps the planner, which takes a category for large, from reading every stock for a cart of one line.
WITH lines AS MATERIALIZED (
    SELECT c.user_id, i.id, i.product_id, i.quantity
    FROM carts c JOIN cart_items i ON i.cart_id = c.id
    WHERE c.user_id = ANY($2::bigint[])
    ORDER BY c.user_id, i.id
    FOR UPDATE OF i
), stocks AS MATERIALIZED (
    SELECT product_id, quantity, version, shelf_version
    FROM stock
    WHERE product_id = ANY(ARRAY(
        SELECT unnest($1::bigint[])
        UNION
        SELECT product_id FROM lines
        UNION
        SELECT product_id FROM order_items WHERE order_id = ANY($3::bigint[])
        UNION
        SELECT id FROM products WHERE category_id = ANY($4::bigint[]) AND deleted_at IS NULL
    ))
    ORDER BY product_id
    FOR NO KEY UPDATE
)
SELECT product_id, quantity, version, shelf_version, NULL::bigint, NULL::bigint FROM stocks
UNION ALL
SELECT product_id, quantity, NULL, NULL, user_id, id FROM lines
