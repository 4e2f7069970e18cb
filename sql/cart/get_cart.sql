-- A user's cart with what there is of each product now; lines of deleted products are gone.
-- $1 bigint user
-- Row: cart id, created_at; then a line: id, product_id, name, quantity, price_cents, available, added_at,
-- all null where the cart has none. No row: no such user.
-- Served by carts_user_key, cart_items_product_key, products_pkey, stock_pkey. The LIMITs keep the planner,
-- which knows little of tables that have just been made, from reading whole ones.
SELECT c.id, c.created_at, l.*
FROM carts c
LEFT JOIN LATERAL (
    SELECT i.id, i.product_id, p.name, i.quantity, p.price_cents, s.quantity AS available, i.added_at
    FROM cart_items i
    CROSS JOIN LATERAL (SELECT * FROM products WHERE id = i.product_id AND deleted_at IS NULL LIMIT 1) p
    CROSS JOIN LATERAL (SELECT * FROM stock WHERE product_id = i.product_id LIMIT 1) s
    WHERE i.cart_id = c.id
) l ON true
WHERE c.user_id = $1
ORDER BY l.id
