-- Changes an account's name or address; null keeps what is there.
-- $1 bigint id, $2 text username or null, $3 text email or null
-- Row: id, username, email, is_staff, date_joined. No row: there is no such account. Breaks
-- users_username_key or users_email_key when somebody else has the name or the address.
-- Served by the primary key.
UPDATE users SET username = coalesce($2, username), email = coalesce($3, email)
WHERE id = $1
RETURNING id, username, email, is_staff, date_joined
