-- Puts units of a product into a locked cart, on top of what is there, where there is room for them.
-- $1 bigint user, $2 bigint product, $3 bigint quantity, $4 bigint the most units of a line,
-- $5 bigint the most lines of a cart
-- Row: known (the product is in the catalogue), there (units of it before, null for none), lines (in the
-- cart before); then the line as get_cart.sql shows it, its id null where nothing was put in.
-- No row: no such user. Served by carts_user_key, products_pkey, stock_pkey and cart_items_product_key; the
-- LIMITs are as in get_cart.sql.
WITH cart AS (
    SELECT c.id, p.id AS product_id, p.name, p.price_cents, s.quantity AS available,
           (SELECT i.quantity FROM cart_items i WHERE i.cart_id = c.id AND i.product_id = $2) AS there,
           (SELECT count(*)
            FROM cart_items i
            CROSS JOIN LATERAL (SELECT FROM products WHERE id = i.product_id AND deleted_at IS NULL LIMIT 1) p
            WHERE i.cart_id = c.id) AS lines
    FROM carts c
    LEFT JOIN LATERAL (SELECT * FROM products WHERE id = $2 AND deleted_at IS NULL LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT * FROM stock WHERE product_id = p.id LIMIT 1) s ON true
    WHERE c.user_id = $1
), added AS (
    INSERT INTO cart_items (cart_id, product_id, quantity)
    SELECT id, product_id, $3 FROM cart
    WHERE product_id IS NOT NULL AND coalesce(there, 0) + $3 <= $4 AND (there IS NOT NULL OR lines < $5)
    ON CONFLICT (cart_id, product_id) DO UPDATE SET quantity = cart_items.quantity + excluded.quantity
    RETURNING id, quantity, added_at
)
SELECT c.product_id IS NOT NULL AS known, c.there, c.lines,
       a.id, c.product_id, c.name, a.quantity, c.price_cents, c.available, a.added_at
FROM cart c LEFT JOIN added a ON true
