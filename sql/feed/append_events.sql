-- Writes events under the next numbers, a thousand to a record. Must be the last statement before COMMIT: the
-- counter's row stays locked until then, which is what puts the numbers into commit order.
-- $1 text[] kinds, $2 bigint[] subjects, $3 bigint[] users, $4 bigint[] stocks, $5 bigint[] prices,
-- $6 text[] order events, $7 text[] statuses, $8 bigint[] totals (of equal length, nulls where a kind has none)
-- Row: last_seq, the number of the last event.
-- LIMIT 1 changes no row: it keeps the planner from taking the counter for thousands, which looks dear enough to
-- be compiled.
WITH numbers AS (
    UPDATE event_counter SET last_seq = last_seq + cardinality($1::text[]) RETURNING last_seq
), written AS (
    INSERT INTO event_records
        (first_seq, last_seq, at, kinds, subjects, users, stocks, prices, events, statuses, totals)
    SELECT n.last_seq - cardinality($1::text[]) + r.low, n.last_seq - cardinality($1::text[]) + r.high, now(),
           ($1::text[])[r.low:r.high], ($2::bigint[])[r.low:r.high], ($3::bigint[])[r.low:r.high],
           ($4::bigint[])[r.low:r.high], ($5::bigint[])[r.low:r.high], ($6::text[])[r.low:r.high],
           ($7::text[])[r.low:r.high], ($8::bigint[])[r.low:r.high]
    FROM (SELECT last_seq FROM numbers LIMIT 1) n,
         (SELECT low, least(low + 999, cardinality($1::text[])) AS high
          FROM generate_series(1, cardinality($1::text[]), 1000) AS low) r
)
SELECT last_seq FROM numbers
