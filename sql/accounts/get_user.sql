-- An account.
-- $1 bigint id
-- Row: id, username, email, is_staff, date_joined. No row: there is none.
-- Served by the primary key.
SELECT id, username, email, is_staff, date_joined FROM users WHERE id = $1
