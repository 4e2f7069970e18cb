-- A category, with the number of the last event that this snapshot shows.
-- $1 bigint category
-- Row: last_seq, id, name, description. There is always a row; its id is null when there is no such category.
-- Served by categories_pkey.
SELECT e.last_seq, c.id, c.name, c.description
FROM event_counter e
LEFT JOIN categories c ON c.id = $1 AND c.deleted_at IS NULL
