-- One order, by the book, of the one product that everybody wants.
\set user random(1, 64)
\set line random(1, 1000000)
BEGIN;
UPDATE products SET stock = stock - 1 WHERE id = 1 AND stock >= 1;
INSERT INTO orders (user_id, status, total) VALUES (:user, 'pending', 100) RETURNING id \gset
INSERT INTO order_lines (order_id, line_no, product_id, quantity, price) VALUES (:id, 0, 1, 1, 100);
DELETE FROM cart_lines WHERE id = :line;
INSERT INTO events (order_id, product) VALUES (:id, 1);
COMMIT;
