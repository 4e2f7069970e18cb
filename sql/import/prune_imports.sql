-- Forgets the imports that nobody has touched for so long.
-- $1 bigint seconds
-- Served by imports_updated_idx.
DELETE FROM imports WHERE updated_at < now() - make_interval(secs => $1::bigint)
