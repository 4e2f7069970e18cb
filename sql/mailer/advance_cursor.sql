-- Notes that every event up to a number is dealt with, and renews the lease.
-- $1 text this node, $2 bigint the number
-- No row written: the lease is another node's by now.
UPDATE event_consumers
SET last_seq = greatest(last_seq, $2), leased_until = now() + interval '30 seconds'
WHERE name = 'mailer' AND leased_by = $1
