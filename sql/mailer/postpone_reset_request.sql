-- Gives a request for a link back, for any node to try again with another link.
-- $1 text email, $2 bytea SHA-256 of the token of the link that was not mailed
-- Served by the primary keys of both tables.
WITH closed AS (
    DELETE FROM password_resets WHERE token_hash = $2
)
UPDATE password_reset_requests SET claimed_until = now() WHERE email = $1
