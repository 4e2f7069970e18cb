-- What happened to a user's orders within a stretch of the log of at most 50,000 events. For a user
-- of many orders, who has some in any stretch.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows, $4 bigint the user
-- Row: as in read_events, without delay_us. No row: nothing in this stretch.
-- Served by events_pkey.
SELECT seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents
FROM events
WHERE seq > $1 AND seq <= least($1 + 50000, $2) AND kind = 'order' AND user_id = $4
ORDER BY seq
LIMIT $3
