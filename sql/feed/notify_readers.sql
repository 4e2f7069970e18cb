-- Hints to every node to read the log. Never part of a transaction that does anything else: a
-- notification takes a lock at commit that all of the cluster's notifications share.
-- $1 text who hints, so that it can tell its own hint
-- Row: one, empty.
SELECT pg_notify('emporium_events', $1)
