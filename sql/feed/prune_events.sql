-- Removes the oldest records of events: those before the first one that is still to be kept, so that the log
-- stays without gaps, and never one that a consumer has yet to read. One node at a time.
-- $1 bigint most records to remove, $2 bigint seconds to keep an event
-- Served by event_records_pkey.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7310588146912534625) AS is_ours
), oldest AS MATERIALIZED (
    SELECT last_seq, at FROM event_records ORDER BY last_seq LIMIT $1
), bounds AS (
    SELECT least(
        (SELECT min(last_seq) FROM oldest WHERE at >= now() - make_interval(secs => $2::bigint)),
        (SELECT min(last_seq) + 1 FROM event_consumers)
    ) AS first_kept
)
DELETE FROM event_records
WHERE (SELECT is_ours FROM turn)
  AND last_seq IN (SELECT o.last_seq FROM oldest o, bounds b WHERE b.first_kept IS NULL OR o.last_seq < b.first_kept)
