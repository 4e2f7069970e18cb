-- What happened to a user's orders, however long the log. For a user of few orders: all of them are
-- looked up.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows, $4 bigint the user
-- Row: as in read_events, without delay_us. No row: nothing.
-- Served by orders_user_idx and events_order_idx; OFFSET 0 keeps the planner to that.
SELECT e.seq, e.at, e.kind, e.subject, e.user_id, e.stock, e.price_cents, e.event, e.status, e.total_cents
FROM (SELECT id FROM orders WHERE user_id = $4 OFFSET 0) o
CROSS JOIN LATERAL (
    SELECT seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents
    FROM events
    WHERE kind = 'order' AND subject = o.id
    OFFSET 0
) e
WHERE e.seq > $1 AND e.seq <= $2
ORDER BY e.seq
LIMIT $3
