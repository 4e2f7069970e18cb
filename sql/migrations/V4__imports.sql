-- Imports: which there were, how far each has come, and the rows of those under way.

CREATE SEQUENCE import_runs;

-- One row per import that changes something, from the moment its whole content is known. It is the
-- lock under which an import goes on, and written by the transactions that it counts.
CREATE TABLE imports (
    -- The client's, or the shop's own.
    id           text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 255),
    -- The attempt under way, or the last one there was; a chunk of an earlier one is refused.
    run          bigint NOT NULL,
    -- SHA-256 of the content, which tells a repetition from a reuse.
    content_hash bytea NOT NULL,
    by_user      bigint,
    -- Every row up to this line of the content is done, and never done again.
    done_line    bigint NOT NULL DEFAULT 0,
    -- What became of those rows.
    created      bigint NOT NULL DEFAULT 0,
    updated      bigint NOT NULL DEFAULT 0,
    unchanged    bigint NOT NULL DEFAULT 0,
    refused      bigint NOT NULL DEFAULT 0,
    -- Rows that never were to be done, since an earlier row has their sku; known once it is finished.
    repeated     bigint NOT NULL DEFAULT 0,
    started_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
) WITH (fillfactor = 50);
CREATE INDEX imports_updated_idx ON imports (updated_at);

-- The rows of imports under way, as they were sent, checked one by one but not against each other.
-- Unlogged: after a crash of the server they are sent again. A null column keeps what is there.
CREATE UNLOGGED TABLE import_rows (
    run              bigint NOT NULL,
    line             bigint NOT NULL,
    sku              text NOT NULL,
    name             text,
    sets_description boolean NOT NULL,
    description      text,
    price_cents      bigint,
    -- A place, from 1, in the list of categories that the content names.
    category_no      integer,
    -- A count, or a difference; never both.
    stock            bigint,
    stock_delta      bigint,
    PRIMARY KEY (run, line)
);

-- As with the rows of a sale: a trigger for each new product would cost an import an eighth of its time,
-- and whoever writes one has locked its category, which is never deleted, only marked.
ALTER TABLE products DROP CONSTRAINT products_category_id_fkey;
