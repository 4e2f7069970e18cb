-- One order, by the book, of any product: evenly, which is the kindest to row locks.
\set user random(1, 64)
\set line random(1, 1000000)
\set product random(1, 3782)
BEGIN;
UPDATE products SET stock = stock - 1 WHERE id = :product AND stock >= 1;
INSERT INTO orders (user_id, status, total) VALUES (:user, 'pending', 100) RETURNING id \gset
INSERT INTO order_lines (order_id, line_no, product_id, quantity, price) VALUES (:id, 0, :product, 1, 100);
DELETE FROM cart_lines WHERE id = :line;
INSERT INTO events (order_id, product) VALUES (:id, :product);
COMMIT;
