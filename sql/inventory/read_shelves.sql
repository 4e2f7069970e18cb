-- Name, price and presence of what lock_stock.sql locked. A statement of its own, because it must
-- see what was committed while that one waited.
-- $1 … $4 as in lock_stock.sql
-- Row: id, name, price_cents, removed, category_id. Served as lock_stock.sql, and by products_pkey.
WITH wanted AS (
    SELECT unnest($1::bigint[]) AS product_id
    UNION
    SELECT i.product_id FROM carts c JOIN cart_items i ON i.cart_id = c.id WHERE c.user_id = ANY($2::bigint[])
    UNION
    SELECT product_id FROM order_items WHERE order_id = ANY($3::bigint[])
    UNION
    SELECT id FROM products WHERE category_id = ANY($4::bigint[]) AND deleted_at IS NULL
)
SELECT p.id, p.name, p.price_cents, p.deleted_at IS NOT NULL, p.category_id
FROM wanted w JOIN products p ON p.id = w.product_id
