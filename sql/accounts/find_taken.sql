-- Whether another account has the name, or the address.
-- $1 text username or null, $2 text email or null, $3 bigint the account that does not count, or null
-- Row: username_taken, email_taken. Always one.
-- Served by users_username_key and users_email_key.
SELECT EXISTS (SELECT FROM users WHERE username = $1 AND id IS DISTINCT FROM $3::bigint),
       EXISTS (SELECT FROM users WHERE email = $2 AND id IS DISTINCT FROM $3::bigint)
