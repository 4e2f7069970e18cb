-- Puts units of a product into a locked cart, on top of what is there.
-- $1 bigint cart, $2 bigint product, $3 bigint quantity
-- Row: id of the line. Served by cart_items_product_key.
INSERT INTO cart_items (cart_id, product_id, quantity) VALUES ($1, $2, $3)
ON CONFLICT (cart_id, product_id) DO UPDATE SET quantity = cart_items.quantity + excluded.quantity
RETURNING id
