-- The next orders to confirm, with whom to tell. (The lines: list_order_items_by_order.)
-- $1 bigint after this event, $2 bigint up to this event, $3 bigint most rows
-- Row: seq, order id, username, email, total_cents, created_at, expires_at, by seq.
-- Fewer rows than asked for: the stretch holds no more.
-- Served by event_records_pkey, orders_pkey and users_pkey. Records without an order are passed unopened; of the
-- others the stretch should be short, for it may be read whole. LIMIT 1 changes no row: it keeps the planner, who
-- does not know how few rows $3 asks for, from reading all orders to find them.
SELECT e.seq, o.id, u.username, u.email, o.total_cents, o.created_at, o.expires_at
FROM (
    SELECT r.first_seq + e.place - 1 AS seq, e.subject
    FROM event_records r
    CROSS JOIN LATERAL unnest(r.kinds, r.subjects, r.events) WITH ORDINALITY AS e (kind, subject, event, place)
    WHERE r.last_seq > $1 AND r.last_seq < $2::bigint + 1000 AND r.first_seq <= $2 AND 'order' = ANY (r.kinds)
      AND r.first_seq + e.place - 1 > $1 AND r.first_seq + e.place - 1 <= $2
      AND e.kind = 'order' AND e.event = 'placed'
    ORDER BY seq
    LIMIT $3
) e
CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = e.subject LIMIT 1) o
CROSS JOIN LATERAL (SELECT * FROM users WHERE id = o.user_id LIMIT 1) u
ORDER BY e.seq
