-- The last stock event of every product that changed within a stretch of the log, oldest first.
-- A page goes on after the number of the last row before it: what changed again is then further on.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows
-- Row: as in read_events, without delay_us. No row: nothing changed.
-- Served by events_pkey.
WITH latest AS (
    SELECT max(seq) AS seq
    FROM events
    WHERE seq > $1 AND seq <= $2 AND kind IN ('stock', 'removed')
    GROUP BY subject
    ORDER BY max(seq)
    LIMIT $3
)
SELECT e.seq, e.at, e.kind, e.subject, e.user_id, e.stock, e.price_cents, e.event, e.status, e.total_cents
FROM latest JOIN events e ON e.seq = latest.seq
ORDER BY e.seq
