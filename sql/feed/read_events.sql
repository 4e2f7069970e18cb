-- The next events of the log, for this node's reader.
-- $1 bigint the last number read, $2 bigint most records, of at most a thousand events each
-- Row: seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents,
-- delay_us (microseconds from the start of the event's transaction until now), record (which of the records it
-- is of, from 1). No row: nothing new.
-- Served by event_records_pkey.
SELECT r.first_seq + e.place - 1 AS seq, r.at, e.kind, e.subject, e.user_id, e.stock,
       e.price_cents, e.event, e.status, e.total_cents,
       (extract(epoch FROM clock_timestamp() - r.at) * 1000000)::bigint AS delay_us, r.record
FROM (
    SELECT *, row_number() OVER (ORDER BY last_seq) AS record
    FROM event_records
    WHERE last_seq > $1
    ORDER BY last_seq
    LIMIT $2
) r
CROSS JOIN LATERAL unnest(r.kinds, r.subjects, r.users, r.stocks, r.prices, r.events, r.statuses, r.totals)
    WITH ORDINALITY AS e (kind, subject, user_id, stock, price_cents, event, status, total_cents, place)
WHERE r.first_seq + e.place - 1 > $1
ORDER BY r.last_seq, e.place
