-- A placed order is kept for its key by its id, not as the text of the answer: its rows, which stay, tell what
-- that was. Of an order of many lines the text was several kilobytes, written once more than needed.
-- (While a node of before still runs, it answers a key that a newer node has kept with its status and nothing else.)
ALTER TABLE idempotency_keys ADD COLUMN order_id bigint;
COMMENT ON COLUMN idempotency_keys.order_id IS 'the order that was placed; body is empty then';
