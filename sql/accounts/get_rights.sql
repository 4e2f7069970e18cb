-- What an account may do at this moment.
-- $1 bigint id
-- Row: is_staff, is_active. No row: there is no such account.
-- Served by the primary key.
SELECT is_staff, is_active FROM users WHERE id = $1
