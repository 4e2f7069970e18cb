-- Ends a session.
-- $1 bigint id
-- Row: user_id. No row: there is none, or it has ended before.
-- Served by the primary key.
UPDATE sessions SET ended_at = now() WHERE id = $1 AND ended_at IS NULL RETURNING user_id
