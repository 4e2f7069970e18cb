-- Removes nodes that went without a word. Skips rows that another node is at, so that nobody waits.
-- $1 bigint milliseconds after which a silent node is gone for good, $2 bigint most rows
-- Reads the table whole; it is as small as the shop has nodes.
DELETE FROM nodes
WHERE id IN (
    SELECT id FROM nodes
    WHERE seen_at < now() - $1::bigint * interval '1 millisecond'
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
