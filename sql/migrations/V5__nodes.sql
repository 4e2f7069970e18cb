-- The nodes that are open at the moment. Each rewrites its own row about once a second, so that any of
-- them can tell how all of them fare. Nothing here outlives a crash or is worth a write to the log:
-- without WAL a heartbeat waits for no disk, and the table is empty after a crash until the next one.
CREATE UNLOGGED TABLE nodes (
    -- Drawn anew by each process.
    id              text PRIMARY KEY CHECK (char_length(id) <= 64),
    -- Host and port, for people.
    name            text NOT NULL CHECK (char_length(name) <= 300),
    version         text NOT NULL CHECK (char_length(version) <= 64),
    started_at      timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,
    -- The most requests that waited for a batch at once during the last second.
    queue           bigint NOT NULL,
    -- What the next six are about: the last so many seconds.
    window_s        bigint NOT NULL,
    orders          bigint NOT NULL,
    batches         bigint NOT NULL,
    batch_size_mean bigint NOT NULL,
    batch_size_max  bigint NOT NULL,
    commit_p50_us   bigint NOT NULL,
    commit_p99_us   bigint NOT NULL,
    sockets         bigint NOT NULL,
    -- How far the node has read the event log.
    position        bigint NOT NULL
) WITH (fillfactor = 20);
