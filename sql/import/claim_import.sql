-- Makes an import, or takes up the one that has this id and this content.
-- $1 text id, $2 bigint run, $3 bytea hash of the content, $4 bigint user (null: the command line)
-- Row: done_line, created, updated, unchanged, refused, repeated, finished_at. No row: the id has other content.
-- Served by imports_pkey.
INSERT INTO imports AS i (id, run, content_hash, by_user)
VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET run = excluded.run, updated_at = now()
WHERE i.content_hash = excluded.content_hash
RETURNING done_line, created, updated, unchanged, refused, repeated, finished_at
