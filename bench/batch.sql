-- One batch as the shop writes it, by one lane: :orders orders of a product that is this lane's alone,
-- so that lanes meet nowhere but at the numbers of events. It is the database's part of a checkout, in
-- the same two round trips. With :locked 1, numbers are drawn as the shop draws them, under the
-- counter's lock and last before COMMIT; with 0, from a sequence, in no order that a reader could use.
-- Runs on the shop's own schema.
\set product :client_id + 1
\set user random(1, 64)
\startpipeline
BEGIN;
SELECT quantity FROM stock WHERE product_id = :product FOR NO KEY UPDATE;
\endpipeline
\startpipeline
UPDATE stock SET quantity = quantity - :orders, version = version + 1 WHERE product_id = :product;
WITH placed AS (
    INSERT INTO orders (id, user_id, status, total_cents, created_at, updated_at, expires_at)
    SELECT nextval('orders_id_seq'), :user, 'pending', 100, now(), now(), now() + interval '15 minutes'
    FROM generate_series(1, :orders)
    RETURNING id
)
INSERT INTO order_items (order_id, line_no, product_id, name, quantity, price_cents)
SELECT id, 0, :product, 'Load test', 1, 100 FROM placed;
WITH locked AS (
    UPDATE event_counter SET last_seq = last_seq + :orders + 1 WHERE :locked = 1 RETURNING last_seq
), numbers AS (
    SELECT coalesce((SELECT last_seq FROM locked), nextval('event_numbers')) AS last_seq
)
INSERT INTO event_records (first_seq, last_seq, at, kinds, subjects, users, stocks, prices, events, statuses, totals)
SELECT last_seq - :orders, last_seq, now(),
       e.kinds, e.subjects, e.users, e.stocks, e.prices, e.events, e.statuses, e.totals
FROM numbers, (
    SELECT array_agg('order'::text) || 'stock'::text AS kinds,
           array_agg(currval('orders_id_seq') - n) || :product::bigint AS subjects,
           array_agg(:user::bigint) || NULL::bigint AS users, array_agg(NULL::bigint) || 1::bigint AS stocks,
           array_agg(NULL::bigint) || 100::bigint AS prices, array_agg('placed'::text) || NULL::text AS events,
           array_agg('pending'::text) || NULL::text AS statuses, array_agg(100::bigint) || NULL::bigint AS totals
    FROM generate_series(0, :orders - 1) n
) e;
COMMIT;
\endpipeline
