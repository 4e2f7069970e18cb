-- Gives the right to send mail up, so that another node need not wait for it to run out.
-- $1 text this node
UPDATE event_consumers SET leased_by = NULL, leased_until = NULL WHERE name = 'mailer' AND leased_by = $1
