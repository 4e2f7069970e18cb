-- Ends a user's sessions.
-- $1 bigint user, $2 bigint the session to keep, or null for none
-- Row: id, one for each that was ended. No row: there was none.
-- Served by sessions_user_idx.
UPDATE sessions SET ended_at = now()
WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $2::bigint
RETURNING id
