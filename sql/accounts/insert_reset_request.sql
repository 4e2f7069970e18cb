-- Asks for a link to choose a new password, whether or not an account has the address.
-- $1 text email, in its stored form, $2 bigint how many requests may wait
-- No row written: as many are waiting already.
-- Served by the primary key; counting reads no more than $2 rows, of a table that is nearly empty.
INSERT INTO password_reset_requests (email)
SELECT $1::text
WHERE (SELECT count(*) FROM (SELECT FROM password_reset_requests LIMIT $2::bigint) waiting) < $2::bigint
-- Not now(), which may lie before a claim that this has waited for.
ON CONFLICT (email) DO UPDATE SET requested_at = clock_timestamp()
