-- The number of the last event of a transaction that has committed lately.
-- $1 text xid
-- Row (always one): seq; that of the last event there is where the transaction's are none of the last 100000.
-- Served by events_pkey.
SELECT coalesce(
    (SELECT max(e.seq)
     FROM (SELECT seq, xmin FROM events ORDER BY seq DESC LIMIT 100000) e
     WHERE e.xmin = ($1::text::numeric % 4294967296)::text::xid),
    c.last_seq)
FROM event_counter c
