-- A user's cart with what there is of each product now; lines of deleted products are gone.
-- $1 bigint user
-- Row: cart id, created_at; then a line: id, product_id, name, quantity, price_cents, available, added_at,
-- all null where the cart has none. No row: no such user.
-- Served by carts_user_key, cart_items_product_key, products_pkey, stock_pkey.
SELECT c.id, c.created_at, i.id, i.product_id, p.name, i.quantity, p.price_cents, s.quantity, i.added_at
FROM carts c
LEFT JOIN (
    cart_items i
    JOIN products p ON p.id = i.product_id AND p.deleted_at IS NULL
    JOIN stock s ON s.product_id = i.product_id
) ON i.cart_id = c.id
WHERE c.user_id = $1
ORDER BY i.id
