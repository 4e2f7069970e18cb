-- A session and what its user may do at this moment.
-- $1 bigint id
-- Row: user_id, ended, is_staff, is_active. No row: never was, or expired long ago.
-- Served by the primary keys of both tables.
SELECT s.user_id, s.ended_at IS NOT NULL, u.is_staff, u.is_active
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = $1
