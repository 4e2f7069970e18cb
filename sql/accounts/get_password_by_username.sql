-- What is needed to check a sign-in.
-- $1 text username, in its stored form
-- Row: id, password_hash, is_active. No row: there is no such account.
-- Served by users_username_key.
SELECT id, password_hash, is_active FROM users WHERE username = $1
