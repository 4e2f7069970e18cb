-- What happened to an order after it was placed.
-- $1 bigint order
-- Row: event, at, by_user. No row: nothing yet. Served by order_moves_pkey.
SELECT event, at, by_user FROM order_moves WHERE order_id = $1
ORDER BY at, array_position(ARRAY['paid', 'shipped', 'delivered', 'cancelled', 'expired', 'refunded'], event)
