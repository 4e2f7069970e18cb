-- Whether a user has more than so many orders.
-- $1 bigint the user, $2 bigint how many
-- Row: one, a boolean.
-- Served by orders_user_idx.
SELECT EXISTS (SELECT FROM orders WHERE user_id = $1 OFFSET $2)
