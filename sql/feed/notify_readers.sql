-- Hints to every node to read the log. Never part of a transaction that does anything else: a
-- notification takes a lock at commit that all of the cluster's notifications share.
-- Nothing is lost with a hint, so its commit waits for no disk, and no other commit for it.
-- $1 text who hints, so that it can tell its own hint
-- Row: one, of no interest.
SELECT set_config('synchronous_commit', 'off', true), pg_notify('emporium_events', $1)
