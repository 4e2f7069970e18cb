-- Exchanges a session's refresh token for the next one.
-- $1 bigint id, $2 text jti of the token in force, $3 text jti of the next, $4 bigint lifetime in seconds
-- No row written: the session has ended, or the token has been exchanged before.
-- Served by the primary key.
UPDATE sessions SET refresh_jti = $3, expires_at = now() + $4::bigint * interval '1 second'
WHERE id = $1 AND refresh_jti = $2 AND ended_at IS NULL
