-- Reading the catalogue at any size. Every page of products is served by one of these indexes (how,
-- is told in catalog/list_products.sql), and a sale touches none of them but the stock's own.

-- It is trusted: whoever may create objects in the database may install it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- What a search looks at: name, description and sku in capitals, U+001F between them. A search term
-- is put into the same form, so that it never holds that character and cannot reach across two
-- fields. The database's upper() decides what counts as the same letter: accents stay distinct.
CREATE FUNCTION search_form(words text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN upper(translate(words, E'\x1f', E'\x1e'));

ALTER TABLE products ADD COLUMN search_text text NOT NULL GENERATED ALWAYS AS (
    search_form(name) || E'\x1f' || search_form(coalesce(description, '')) || E'\x1f' || search_form(coalesce(sku, ''))
) STORED;
-- No plan depends on what is in there, so nothing needs to be known about it.
ALTER TABLE products ALTER COLUMN search_text SET STATISTICS 0;

-- The characters of a searched text that are neither basic letters nor digits: trigrams are silent
-- about a lone one of them.
CREATE FUNCTION search_symbols(words text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN string_to_array(translate(words, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ' || E'\x1f', ''), NULL);

-- A price by its magnitude, in steps of an eighth of a power of e: 184 levels up to the highest price.
CREATE FUNCTION price_level(price_cents bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN floor(8 * ln(price_cents::float8 + 1))::bigint;

-- The words of a search, wherever they stand. A search within a category, or for those who come next
-- by id or by price, narrows the same index by that, instead of fetching all that have the words. They
-- are arrays of one, since that of which one may be any of many is looked up at once as an overlap.
CREATE INDEX products_search_idx ON products
    USING gin (search_text gin_trgm_ops, (ARRAY[category_id]), (ARRAY[id >> 13]),
               (ARRAY[price_level(price_cents)]))
    WHERE deleted_at IS NULL;
CREATE INDEX products_symbols_idx ON products USING gin (search_symbols(search_text)) WHERE deleted_at IS NULL;

-- Lists in order. In descending order, an index is read backwards, ties included.
CREATE INDEX products_id_idx ON products (id) WHERE deleted_at IS NULL;
CREATE INDEX products_category_price_idx ON products (category_id, price_cents, id) WHERE deleted_at IS NULL;
CREATE INDEX products_category_created_idx ON products (category_id, created_at, id) WHERE deleted_at IS NULL;

-- A deleted product keeps its stock, but leaves the lists that are ordered by it.
ALTER TABLE stock ADD COLUMN listed boolean NOT NULL DEFAULT true;
UPDATE stock SET listed = false FROM products WHERE id = product_id AND deleted_at IS NOT NULL;

-- The one index that a sale does touch. Its old entries are many, so they are swept up early.
CREATE INDEX stock_quantity_idx ON stock (quantity, product_id) WHERE listed;
ALTER TABLE stock SET (autovacuum_vacuum_scale_factor = 0.05);
