-- The sessions that ended lately, newest first.
-- $1 bigint how lately, in seconds, $2 bigint the most rows
-- Row: id, seconds since it ended. No row: none did.
-- Served by sessions_ended_idx.
SELECT id, greatest(0, extract(epoch FROM now() - ended_at)::bigint)
FROM sessions
WHERE ended_at IS NOT NULL AND ended_at > now() - $1::bigint * interval '1 second'
ORDER BY ended_at DESC
LIMIT $2
