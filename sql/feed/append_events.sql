-- Writes events under the next numbers. Must be the last statement before COMMIT: the counter's row
-- stays locked until then, which is what puts the numbers into commit order.
-- $1 text[] kinds, $2 bigint[] subjects, $3 bigint[] users, $4 bigint[] stocks, $5 bigint[] prices,
-- $6 text[] order events, $7 text[] statuses, $8 bigint[] totals (of equal length, nulls where a kind has none)
-- Row: last_seq, the number of the last event.
WITH numbers AS (
    UPDATE event_counter SET last_seq = last_seq + cardinality($1::text[]) RETURNING last_seq
), written AS (
    INSERT INTO events (seq, at, kind, subject, user_id, stock, price_cents, event, status, total_cents)
    SELECT n.last_seq - cardinality($1::text[]) + e.ordinal, now(),
           e.kind, e.subject, e.user_id, e.stock, e.price_cents, e.event, e.status, e.total_cents
    FROM numbers n,
         unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])
             WITH ORDINALITY AS e (kind, subject, user_id, stock, price_cents, event, status, total_cents, ordinal)
)
SELECT last_seq FROM numbers
