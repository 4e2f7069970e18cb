-- Writes how a node fares, and reads how the others do.
-- $1 text id, $2 text name, $3 text version, $4 timestamptz started_at, $5 bigint queue,
-- $6 bigint window_s, $7 bigint orders, $8 bigint batches, $9 bigint batch_size_mean,
-- $10 bigint batch_size_max, $11 bigint commit_p50_us, $12 bigint commit_p99_us, $13 bigint sockets,
-- $14 bigint position, $15 bigint milliseconds after which a silent node is left out, $16 bigint most rows
-- Row: another node: id, name, version, started_at, age_ms, then the figures in the order above.
-- No row: there is no other.
-- Served by nodes_pkey; the others are read whole.
WITH beat AS (
    INSERT INTO nodes (
        id, name, version, started_at, seen_at, queue, window_s, orders, batches, batch_size_mean,
        batch_size_max, commit_p50_us, commit_p99_us, sockets, position
    )
    VALUES ($1, $2, $3, $4, now(), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE SET
        seen_at = excluded.seen_at,
        queue = excluded.queue,
        window_s = excluded.window_s,
        orders = excluded.orders,
        batches = excluded.batches,
        batch_size_mean = excluded.batch_size_mean,
        batch_size_max = excluded.batch_size_max,
        commit_p50_us = excluded.commit_p50_us,
        commit_p99_us = excluded.commit_p99_us,
        sockets = excluded.sockets,
        position = excluded.position
)
SELECT
    n.id, n.name, n.version, n.started_at, n.age_ms, n.queue, n.window_s, n.orders, n.batches,
    n.batch_size_mean, n.batch_size_max, n.commit_p50_us, n.commit_p99_us, n.sockets, n.position
FROM (
    SELECT *, (extract(epoch FROM now() - seen_at) * 1000)::bigint AS age_ms FROM nodes WHERE id <> $1
) n
WHERE n.age_ms < $15::bigint
ORDER BY n.name, n.id
LIMIT $16
