-- As lock_stock.sql, where not every product is named outright.
-- $1 bigint[] products named outright, $2 bigint[] users whose carts are checked out,
-- $3 bigint[] orders whose stock comes back, $4 bigint[] categories to be removed
-- Row: product_id, quantity, version, shelf_version, by product.
-- Served by stock_pkey, carts_user_key, cart_items_product_key, order_items_pkey, products_category_idx. The
-- array keeps the planner, which takes a category for large, from reading every stock for a cart of one line.
SELECT product_id, quantity, version, shelf_version
FROM stock
WHERE product_id = ANY(ARRAY(
    SELECT unnest($1::bigint[])
    UNION
    SELECT i.product_id FROM carts c JOIN cart_items i ON i.cart_id = c.id WHERE c.user_id = ANY($2::bigint[])
    UNION
    SELECT product_id FROM order_items WHERE order_id = ANY($3::bigint[])
    UNION
    SELECT id FROM products WHERE category_id = ANY($4::bigint[]) AND deleted_at IS NULL
))
ORDER BY product_id
FOR NO KEY UPDATE
