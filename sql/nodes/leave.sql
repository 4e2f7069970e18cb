-- Takes a node that stops off the list.
-- $1 text id
-- Served by nodes_pkey.
DELETE FROM nodes WHERE id = $1
