-- Removes sessions that no token can name any more, a window of ids at a time.
-- $1 bigint the id after which to look, $2 bigint how many sessions to look at
-- Row: the last id looked at, null past the end. Always one.
-- Served by the primary key.
WITH looked_at AS MATERIALIZED (
    SELECT id, expires_at FROM sessions WHERE id > $1 ORDER BY id LIMIT $2
), removed AS (
    DELETE FROM sessions s USING looked_at l
    WHERE s.id = l.id AND l.expires_at < now() - interval '1 day'
      AND s.expires_at < now() - interval '1 day'
)
SELECT max(id) FROM looked_at
