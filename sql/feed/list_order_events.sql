-- What happened to orders within a stretch of the log.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows
-- Row: as of events_between(). No row: nothing in this stretch.
-- Served by event_records_pkey; the stretch is read whole.
SELECT seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents
FROM events_between($1, $2)
WHERE kind = 'order'
ORDER BY seq
LIMIT $3
