-- A category in order of its stock. Where the products of a category are far from the highest stocks, a page of
-- them passes many others, each of which had to be looked up to learn that it is one.

-- Of which category the product is; null where nobody has said so, as a program from before this does not. Then it
-- is looked up.
ALTER TABLE stock ADD COLUMN category_id bigint;
UPDATE stock s SET category_id = p.category_id FROM products p WHERE p.id = s.product_id;

-- Still the one index that a sale touches; now it has all that a list wants of a stock, so that what is passed over
-- is read nowhere else.
DROP INDEX stock_quantity_idx;
CREATE INDEX stock_quantity_idx ON stock (quantity, product_id) INCLUDE (category_id, version) WHERE listed;

-- The trigger that tells the stock of an edit tells it these, too.
CREATE OR REPLACE FUNCTION note_shelf_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stock s
    SET shelf_version = s.shelf_version + 1, category_id = a.category_id, listed = a.deleted_at IS NULL
    FROM before b JOIN after a ON a.id = b.id
    WHERE s.product_id = a.id
      AND (a.name, a.price_cents, a.category_id, a.deleted_at)
          IS DISTINCT FROM (b.name, b.price_cents, b.category_id, b.deleted_at);
    RETURN NULL;
END
$$;
