-- Takes or renews the right to send mail, for 30 seconds.
-- $1 text this node
-- Row: last_seq, the last event dealt with. No row: another node has it.
UPDATE event_consumers
SET leased_by = $1, leased_until = now() + interval '30 seconds'
WHERE name = 'mailer' AND (leased_by = $1 OR leased_until IS NULL OR leased_until < now())
RETURNING last_seq
