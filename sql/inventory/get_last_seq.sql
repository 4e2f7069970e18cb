-- The number of the last event of a transaction that has committed lately.
-- $1 text xid
-- Row (always one): seq; that of the last event there is where the transaction's are none of the last 100000.
-- Served by event_records_pkey.
SELECT coalesce(
    (SELECT max(r.last_seq)
     FROM (SELECT last_seq, xmin FROM event_records ORDER BY last_seq DESC LIMIT 10000) r
     WHERE r.xmin = ($1::text::numeric % 4294967296)::text::xid),
    c.last_seq)
FROM event_counter c
