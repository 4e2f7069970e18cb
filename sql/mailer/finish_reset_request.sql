-- Forgets a request for a link that has been dealt with, or gives it back where somebody has asked
-- again since it was claimed (for a minute): the link that was mailed may be gone by then.
-- $1 text email
-- Served by the primary key.
WITH done AS (
    DELETE FROM password_reset_requests
    WHERE email = $1 AND requested_at <= claimed_until - interval '1 minute'
)
UPDATE password_reset_requests SET claimed_until = '-infinity'
WHERE email = $1 AND requested_at > claimed_until - interval '1 minute'
