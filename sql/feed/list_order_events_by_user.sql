-- What happened to a user's orders, however long the log. For a user of few orders: all of them are looked up,
-- by the times of the transactions that placed and moved them.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows, $4 bigint the user
-- Row: as of events_between(). No row: nothing.
-- Served by orders_user_idx, order_moves_pkey and event_records_at_idx; OFFSET 0 keeps the planner to that.
SELECT r.first_seq + e.place - 1 AS seq, r.at, e.kind, e.subject, e.user_id, e.stock,
       e.price_cents, e.event, e.status, e.total_cents
FROM (SELECT id, created_at FROM orders WHERE user_id = $4 OFFSET 0) o
CROSS JOIN LATERAL (
    SELECT o.created_at AS at
    UNION
    SELECT m.at FROM order_moves m WHERE m.order_id = o.id
) t
CROSS JOIN LATERAL (SELECT * FROM event_records WHERE at = t.at OFFSET 0) r
CROSS JOIN LATERAL unnest(r.kinds, r.subjects, r.users, r.stocks, r.prices, r.events, r.statuses, r.totals)
    WITH ORDINALITY AS e (kind, subject, user_id, stock, price_cents, event, status, total_cents, place)
WHERE e.kind = 'order' AND e.subject = o.id
  AND r.first_seq + e.place - 1 > $1 AND r.first_seq + e.place - 1 <= $2
ORDER BY 1
LIMIT $3
