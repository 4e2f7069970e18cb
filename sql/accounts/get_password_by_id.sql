-- What is needed to check and judge a change of password.
-- $1 bigint id
-- Row: password_hash, username, email. No row: there is no such account.
-- Served by the primary key.
SELECT password_hash, username, email FROM users WHERE id = $1
