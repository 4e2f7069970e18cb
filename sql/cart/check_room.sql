-- What must be known before units of a product go into a locked cart.
-- $1 bigint cart, $2 bigint product
-- Row: known (the product is in the catalogue), quantity (already in the cart, null for none), lines (in the cart).
-- Served by products_pkey and cart_items_product_key.
SELECT EXISTS (SELECT FROM products WHERE id = $2 AND deleted_at IS NULL),
       (SELECT quantity FROM cart_items WHERE cart_id = $1 AND product_id = $2),
       (SELECT count(*) FROM cart_items i JOIN products p ON p.id = i.product_id AND p.deleted_at IS NULL
        WHERE i.cart_id = $1)
