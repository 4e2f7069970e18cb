-- Whoever changes what a user may do need not know of the event log: the change tells of itself, in
-- the transaction that makes it, so that the user's live sockets close and no node goes on believing
-- the old rights.
--
-- Deferred, so that the log's counter is locked only at the very end of that transaction.
CREATE FUNCTION log_rights_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH number AS (
        UPDATE event_counter SET last_seq = last_seq + 1 RETURNING last_seq
    )
    INSERT INTO events (seq, at, kind, subject)
    SELECT last_seq, now(), 'user', NEW.id FROM number;
    -- The hint of feed/notify_readers.sql. Such changes are rare enough to carry it themselves.
    PERFORM pg_notify('emporium_events', '');
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER users_rights_change
    AFTER UPDATE OF is_staff, is_active ON users
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (OLD.is_staff IS DISTINCT FROM NEW.is_staff OR OLD.is_active IS DISTINCT FROM NEW.is_active)
    EXECUTE FUNCTION log_rights_change();

-- What happened to an order, for customers who resume their feed; found by way of orders_user_idx.
-- Not by user: orders are placed in the order of their ids, so that this index grows at its end alone,
-- which costs a sale next to nothing, and an index by user would be written all over.
CREATE INDEX events_order_idx ON events (subject) WHERE kind = 'order';
