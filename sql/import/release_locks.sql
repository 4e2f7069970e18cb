-- Gives back the locks that this connection holds for as long as it lives.
-- Row: one, empty.
SELECT pg_advisory_unlock_all()
