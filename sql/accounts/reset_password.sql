-- Replaces the password of the account that a link is for, and locks the account. The link itself is
-- used up by use_resets_by_user, which is the last word on its being good.
-- $1 bytea SHA-256 of the link's token, $2 text new hash
-- Row: id. No row: as in get_reset.
-- Served by the primary keys of both tables.
UPDATE users SET password_hash = $2
WHERE is_active AND id = (
    SELECT user_id FROM password_resets WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
)
RETURNING id
