-- Takes the oldest requests for a link that nobody is at work on, for a minute.
-- $1 bigint most rows
-- Row: email. Fewer rows than asked for: no more are waiting.
-- Reads the table, which holds only what waits.
UPDATE password_reset_requests SET claimed_until = clock_timestamp() + interval '1 minute'
WHERE email = ANY (ARRAY(
    SELECT email FROM password_reset_requests WHERE claimed_until < now()
    ORDER BY requested_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING email
