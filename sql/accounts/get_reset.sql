-- Whose password a link is for.
-- $1 bytea SHA-256 of its token
-- Row: username, email. No row: there is no such link, it was used or void, has expired, or its
-- account is inactive.
-- Served by the primary keys of both tables.
SELECT u.username, u.email
FROM password_resets r JOIN users u ON u.id = r.user_id
WHERE r.token_hash = $1 AND r.used_at IS NULL AND r.expires_at > now() AND u.is_active
