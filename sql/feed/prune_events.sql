-- Removes the oldest events: those before the first one that is still to be kept, so that the log
-- stays without gaps, and never one that a consumer has yet to read. One node at a time.
-- $1 bigint most rows to remove, $2 bigint seconds to keep an event
-- Served by events_pkey.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7310588146912534625) AS is_ours
), oldest AS MATERIALIZED (
    SELECT seq, at FROM events ORDER BY seq LIMIT $1
), bounds AS (
    SELECT least(
        (SELECT min(seq) FROM oldest WHERE at >= now() - make_interval(secs => $2::bigint)),
        (SELECT min(last_seq) + 1 FROM event_consumers)
    ) AS first_kept
)
DELETE FROM events
WHERE (SELECT is_ours FROM turn)
  AND seq IN (SELECT o.seq FROM oldest o, bounds b WHERE b.first_kept IS NULL OR o.seq < b.first_kept)
