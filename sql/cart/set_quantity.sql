-- Sets how many units a line of a locked cart has.
-- $1 bigint cart, $2 bigint line, $3 bigint quantity
-- Served by cart_items_pkey.
UPDATE cart_items SET quantity = $3 WHERE cart_id = $1 AND id = $2
