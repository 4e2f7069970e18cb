-- Makes every open link of an account void. Its row in users must be locked.
-- $1 bigint user
-- Row: token_hash, one for each that was open. No row: there was none.
-- Served by password_resets_user_idx.
UPDATE password_resets SET used_at = now() WHERE user_id = $1 AND used_at IS NULL RETURNING token_hash
