-- Takes the lines that became orders out of their carts.
-- $1 bigint[] lines
-- Served by cart_items_pkey.
DELETE FROM cart_items WHERE id = ANY($1::bigint[])
