-- The next events of the log, for this node's reader.
-- $1 bigint the last number read, $2 bigint most rows
-- Row: seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents,
-- delay_us (microseconds from the start of the event's transaction until now). No row: nothing new.
-- Served by events_pkey.
SELECT seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents,
       (extract(epoch FROM clock_timestamp() - at) * 1000000)::bigint AS delay_us
FROM events
WHERE seq > $1
ORDER BY seq
LIMIT $2
