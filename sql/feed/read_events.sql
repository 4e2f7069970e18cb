-- The next records of the log, for this node's reader, which takes them apart itself: to have the database do it took
-- that three times as long.
-- $1 bigint the last number read, $2 bigint most records, of at most a thousand events each
-- Row: first_seq, last_seq, at, delay_us (microseconds from the start of the transaction until now), and the
-- columns of the events, an array each: kinds, subjects, users, stocks, prices, events, statuses, totals. Of the first
-- record, those up to $1 have been read. No row: nothing new.
-- Served by event_records_pkey.
SELECT first_seq, last_seq, at, (extract(epoch FROM clock_timestamp() - at) * 1000000)::bigint,
       kinds, subjects, users, stocks, prices, events, statuses, totals
FROM event_records
WHERE last_seq > $1
ORDER BY last_seq
LIMIT $2
