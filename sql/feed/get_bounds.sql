-- How far the log goes and how far back it is kept.
-- Row, always one: last_seq, the number of the last event; first_seq, that of the oldest one kept
-- (last_seq + 1 when none is).
-- Served by event_records_pkey.
SELECT c.last_seq,
       coalesce((SELECT first_seq FROM event_records ORDER BY last_seq LIMIT 1), c.last_seq + 1) AS first_seq
FROM event_counter c
