-- Forgets a request for a link that has been dealt with.
-- $1 text email
-- Served by the primary key.
DELETE FROM password_reset_requests WHERE email = $1
