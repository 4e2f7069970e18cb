-- Opens a link, good for an hour, for the account that has an address.
-- $1 text email, $2 bytea SHA-256 of the link's token, $3 bigint how many may be open at a time
-- Row: username, email. No row: no active account has the address, or as many are open.
-- Served by users_email_key and password_resets_user_idx.
WITH account AS (
    SELECT id, username, email FROM users WHERE email = $1 AND is_active
), opened AS (
    INSERT INTO password_resets (token_hash, user_id, expires_at)
    SELECT $2, a.id, now() + interval '1 hour'
    FROM account a
    WHERE $3 > (
        SELECT count(*) FROM password_resets r
        WHERE r.user_id = a.id AND r.used_at IS NULL AND r.expires_at > now()
    )
    RETURNING user_id
)
SELECT a.username, a.email FROM account a JOIN opened o ON o.user_id = a.id
