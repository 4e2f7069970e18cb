-- The event log, with a row for a transaction instead of one for each event. With a row and two index entries
-- for each order and each stock, the events were a third of what a batch of sales cost the database.

CREATE TABLE event_records (
    -- The numbers of the first and the last of its events; no other record has any between.
    first_seq bigint NOT NULL,
    last_seq  bigint PRIMARY KEY,
    -- That of the transaction, and so of orders.created_at and order_moves.at of the orders in it.
    at        timestamptz NOT NULL,
    -- The events in order, an element of each column for each of them. A transaction of more than a thousand
    -- has several records, so that nobody has to read more at a time.
    kinds     text[] NOT NULL,
    subjects  bigint[] NOT NULL,
    users     bigint[] NOT NULL,
    stocks    bigint[] NOT NULL,
    prices    bigint[] NOT NULL,
    events    text[] NOT NULL,
    statuses  text[] NOT NULL,
    totals    bigint[] NOT NULL,
    CONSTRAINT event_records_size
        CHECK (cardinality(kinds) = last_seq - first_seq + 1 AND cardinality(kinds) BETWEEN 1 AND 1000)
);
-- What happened to an order, for customers who resume their feed.
CREATE INDEX event_records_at_idx ON event_records (at);

-- The quicker compression, where the server has it.
DO $$
DECLARE
    packed text;
BEGIN
    FOREACH packed IN ARRAY ARRAY['kinds', 'subjects', 'users', 'stocks', 'prices', 'events', 'statuses', 'totals'] LOOP
        EXECUTE format('ALTER TABLE event_records ALTER COLUMN %I SET COMPRESSION lz4', packed);
    END LOOP;
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
    NULL;
END
$$;

-- Nobody writes an event between the copy and the end of this.
LOCK TABLE events IN ACCESS EXCLUSIVE MODE;
INSERT INTO event_records (first_seq, last_seq, at, kinds, subjects, users, stocks, prices, events, statuses, totals)
SELECT seq, seq, at, ARRAY[kind], ARRAY[subject], ARRAY[user_id], ARRAY[stock], ARRAY[price_cents], ARRAY[event],
       ARRAY[status], ARRAY[total_cents]
FROM events
ORDER BY seq;
DROP TABLE events;

-- The events after a number and up to another, in no order.
-- kind: what it is about, the subject: a product (stock, product, removed), a category, an order, a session or a
-- user. stock, price_cents: of kind stock, as they are after the commit. event, status, total_cents: of kind
-- order, what happened and how the order stands since. user_id: of orders and sessions.
CREATE FUNCTION events_between(after bigint, up_to bigint)
    RETURNS TABLE (seq bigint, at timestamptz, kind text, subject bigint, user_id bigint, stock bigint,
                   price_cents bigint, event text, status text, total_cents bigint)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT r.first_seq + e.place - 1, r.at, e.kind, e.subject, e.user_id, e.stock,
               e.price_cents, e.event, e.status, e.total_cents
        FROM event_records r
        CROSS JOIN LATERAL unnest(r.kinds, r.subjects, r.users, r.stocks, r.prices, r.events, r.statuses, r.totals)
            WITH ORDINALITY AS e (kind, subject, user_id, stock, price_cents, event, status, total_cents, place)
        WHERE r.last_seq > after AND r.last_seq < up_to + 1000 AND r.first_seq <= up_to
          AND r.first_seq + e.place - 1 > after
          AND r.first_seq + e.place - 1 <= up_to;
    END;

-- All of them, for whoever looks by hand, and for nodes of the version before while they run on this database: they
-- read it whole for each page, write a record for each event, and remove a record with its last event.
CREATE VIEW events AS SELECT * FROM events_between(0, 9000000000000000000);

CREATE FUNCTION record_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_records
        (first_seq, last_seq, at, kinds, subjects, users, stocks, prices, events, statuses, totals)
    VALUES (NEW.seq, NEW.seq, NEW.at, ARRAY[NEW.kind], ARRAY[NEW.subject], ARRAY[NEW.user_id], ARRAY[NEW.stock],
            ARRAY[NEW.price_cents], ARRAY[NEW.event], ARRAY[NEW.status], ARRAY[NEW.total_cents]);
    RETURN NEW;
END
$$;
CREATE TRIGGER events_record INSTEAD OF INSERT ON events FOR EACH ROW EXECUTE FUNCTION record_event();

CREATE FUNCTION forget_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM event_records WHERE last_seq = OLD.seq;
    RETURN OLD;
END
$$;
CREATE TRIGGER events_forget INSTEAD OF DELETE ON events FOR EACH ROW EXECUTE FUNCTION forget_event();
