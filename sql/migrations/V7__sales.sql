-- What a sale costs.

-- New orders come last in these indexes, not first: a page that fills up at the right end stays full
-- where one at the left end is split in halves, and the next entry's place is known without a search.
-- Read backwards, they give the same pages, newest first.
DROP INDEX orders_user_idx;
DROP INDEX orders_newest_idx;
CREATE INDEX orders_user_idx ON orders (user_id, created_at, id);
CREATE INDEX orders_newest_idx ON orders (created_at, id);

-- Grows with every change of what a sale has to know of the product besides its stock: its name, its
-- price, whether it is on sale. It stands beside the stock, so that whoever locks that is told whether
-- what they remember of the product still holds.
ALTER TABLE stock ADD COLUMN shelf_version bigint NOT NULL DEFAULT 1;

CREATE FUNCTION note_shelf_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stock s SET shelf_version = s.shelf_version + 1
    FROM before b JOIN after a ON a.id = b.id
    WHERE s.product_id = a.id
      AND (a.name, a.price_cents, a.deleted_at) IS DISTINCT FROM (b.name, b.price_cents, b.deleted_at);
    RETURN NULL;
END
$$;

-- A trigger, so that no statement that edits products can forget it.
CREATE TRIGGER products_note_shelf_change AFTER UPDATE ON products
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION note_shelf_change();
