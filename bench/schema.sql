-- The naive shop that pgbench drives: what an order by the book touches, and nothing more. As few
-- indexes and constraints as will do, so that it is as fast as it can be.

CREATE TABLE products (
    id    bigint PRIMARY KEY,
    stock bigint NOT NULL CHECK (stock >= 0)
) WITH (fillfactor = 50);

CREATE TABLE orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL,
    status     text NOT NULL,
    total      bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_lines (
    order_id   bigint NOT NULL,
    line_no    smallint NOT NULL,
    product_id bigint NOT NULL,
    quantity   bigint NOT NULL,
    price      bigint NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE cart_lines (
    id         bigint PRIMARY KEY,
    product_id bigint NOT NULL,
    quantity   bigint NOT NULL
);

CREATE TABLE events (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL,
    product  bigint NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);

-- As many products as the demo catalogue has, and so many cart lines that none is taken out twice
-- often.
INSERT INTO products SELECT n, 2000000000 FROM generate_series(1, 3782) n;
INSERT INTO cart_lines SELECT n, 1, 1 FROM generate_series(1, 1000000) n;
VACUUM ANALYZE;
