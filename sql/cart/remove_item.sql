-- Takes a line out of a locked cart. No row written: no such line in this cart.
-- $1 bigint cart, $2 bigint line
-- Served by cart_items_pkey.
DELETE FROM cart_items WHERE cart_id = $1 AND id = $2
