-- Removes links that have expired, and requests that could not be mailed for a day.
-- $1 bigint most rows of each
-- Served by password_resets_expiry_idx and by reading the requests, of which there are few.
WITH stale AS (
    DELETE FROM password_reset_requests
    WHERE email = ANY (ARRAY(
        SELECT email FROM password_reset_requests WHERE requested_at < now() - interval '1 day'
        LIMIT $1 FOR UPDATE SKIP LOCKED
    ))
)
DELETE FROM password_resets
WHERE token_hash = ANY (ARRAY(
    SELECT token_hash FROM password_resets WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED
))
