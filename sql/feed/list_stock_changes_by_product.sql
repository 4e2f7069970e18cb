-- The last stock event of each of these products that changed within a stretch of the log, oldest first.
-- A page goes on after the number of the last row before it: what changed again is then further on.
-- $1 bigint after this number, $2 bigint up to this number, $3 bigint most rows, $4 bigint[] the products
-- Row: as of events_between(). No row: nothing changed.
-- Served by event_records_pkey.
WITH latest AS (
    SELECT max(seq) AS seq
    FROM events_between($1, $2)
    WHERE kind IN ('stock', 'removed')
      AND subject = ANY($4::bigint[])
    GROUP BY subject
    ORDER BY max(seq)
    LIMIT $3
)
SELECT l.seq, r.at, r.kinds[p.place], r.subjects[p.place], r.users[p.place], r.stocks[p.place], r.prices[p.place],
       r.events[p.place], r.statuses[p.place], r.totals[p.place]
FROM latest l
CROSS JOIN LATERAL (SELECT * FROM event_records WHERE last_seq >= l.seq ORDER BY last_seq LIMIT 1) r
CROSS JOIN LATERAL (SELECT (l.seq - r.first_seq + 1)::integer AS place) p
ORDER BY l.seq
