-- Begins a session.
-- $1 bigint user, $2 text jti of its refresh token, $3 bigint lifetime in seconds
-- Row: id.
INSERT INTO sessions (user_id, refresh_jti, expires_at)
VALUES ($1, $2, now() + $3::bigint * interval '1 second')
RETURNING id
