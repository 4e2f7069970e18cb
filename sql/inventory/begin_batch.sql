-- What a batch needs before it can decide: the time of its transaction, the transaction's id (to
-- learn its fate should the answer to COMMIT be lost), and ids for what it may create.
-- $1 bigint orders it may place, $2 bigint products it may create
-- Row (always one): now, xid, order ids, product ids.
SELECT now(), pg_current_xact_id()::text,
       ARRAY(SELECT nextval('orders_id_seq') FROM generate_series(1, $1::bigint)),
       ARRAY(SELECT nextval('products_id_seq') FROM generate_series(1, $2::bigint))
