-- The number of the last event there is.
-- Row (always one): last_seq.
SELECT last_seq FROM event_counter
