-- Replaces a password, unless somebody else has just done so.
-- $1 bigint id, $2 text new hash, $3 text old hash
-- No row written: the old hash is not the account's any more.
-- Served by the primary key.
UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3
