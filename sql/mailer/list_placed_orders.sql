-- The next orders to confirm, with whom to tell. (The lines: list_order_items_by_order.)
-- $1 bigint after this event, $2 bigint up to this event, $3 bigint most rows
-- Row: seq, order id, username, email, total_cents, created_at, expires_at, by seq.
-- Fewer rows than asked for: the stretch holds no more.
-- Served by events_pkey, orders_pkey and users_pkey.
SELECT e.seq, o.id, u.username, u.email, o.total_cents, o.created_at, o.expires_at
FROM (
    SELECT seq, subject
    FROM events
    WHERE seq > $1 AND seq <= $2 AND kind = 'order' AND event = 'placed'
    ORDER BY seq
    LIMIT $3
) e
JOIN orders o ON o.id = e.subject
JOIN users u ON u.id = o.user_id
ORDER BY e.seq
