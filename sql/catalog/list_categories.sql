-- Every category, with the number of the last event that this snapshot shows.
-- Row: last_seq, id, name, description. There is always a row; its id is null when there is no category.
-- Served by a scan; there are at most 10,000 categories.
SELECT e.last_seq, c.id, c.name, c.description
FROM event_counter e
LEFT JOIN categories c ON c.deleted_at IS NULL
ORDER BY c.id
