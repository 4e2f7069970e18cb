-- A page of products: not one statement but the fragments that one is made of. Words in braces are
-- other fragments or values; each value becomes a numbered parameter. What a request does not ask
-- for is not in its statement, so the planner sees only conditions that restrict.
-- Row: id, sku, name, description, price_cents, category_id, quantity, created_at, updated_at,
-- version, stock_version; fits: whether it belongs to the list; is_end: whether the source broke off
-- at this row, which is told even if it does not fit.
--
-- A statement reads at most {budget} rows from one source, in the order of one index, and looks no
-- further once the page is full. The LIMIT within the source keeps the planner from mixing that
-- order with other conditions: it has no choice to misjudge. For the same reason, what is looked up
-- in the search indexes comes out of a subquery, whose value the planner does not know: it would
-- guess how many rows have a word, and is often wrong.

-- fragment: explain
EXPLAIN (ANALYZE, BUFFERS)
{statement}

-- The page, where neither order nor conditions look at the stock ...

-- fragment: page
SELECT p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version, p.fits, p.is_end
FROM (
    SELECT p.*, {fits} AS fits
    FROM {source}
    WHERE {wanted}
    ORDER BY {order}
    LIMIT {limit}
) p
CROSS JOIN LATERAL (SELECT s.quantity, s.version FROM stock s WHERE s.product_id = p.id LIMIT 1) s
ORDER BY {order}

-- ... and where they do.

-- fragment: page_with_stock
SELECT p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version, {fits} AS fits, is_end
FROM {source}
CROSS JOIN LATERAL {rest}
WHERE {wanted}
ORDER BY {order}
LIMIT {limit}

-- fragment: rest_of_products
(SELECT s.quantity, s.version FROM stock s WHERE s.product_id = p.id LIMIT 1) s

-- fragment: rest_of_stock
(SELECT p.*, search_form(p.name) COLLATE "C" AS form FROM products p WHERE p.id = s.product_id LIMIT 1) p

-- The sources. Served by products_id_idx, products_price_idx, products_name_form_idx or
-- products_created_idx, and by products_category_idx and its kin within a category. The form of the name, by
-- which lists are in order of it, is worked out only where it is asked for.

-- fragment: products
(
        SELECT p.*, search_form(p.name) COLLATE "C" AS form, row_number() OVER (ORDER BY {order}) = {budget} AS is_end
        FROM products p
        WHERE p.deleted_at IS NULL{conditions}
        ORDER BY {order}
        LIMIT {budget}
    ) p

-- The same of each category; they are merged afterwards.

-- fragment: products_of_each_category
(
        SELECT p.*
        FROM unnest({categories}::bigint[]) AS c (id)
        CROSS JOIN LATERAL {source}
    ) p

-- Served by products_search_idx or products_category_idx, in no order.

-- fragment: products_in_no_order
(
        SELECT p.*, search_form(p.name) COLLATE "C" AS form, row_number() OVER () = {budget} AS is_end
        FROM products p
        WHERE p.deleted_at IS NULL{conditions}
        LIMIT {budget}
    ) p

-- Served by stock_quantity_idx alone.

-- fragment: stock
(
        SELECT s.product_id, s.quantity, s.version, s.category_id,
               row_number() OVER (ORDER BY {order}) = {budget} AS is_end
        FROM stock s
        WHERE s.listed{conditions}
        ORDER BY {order}
        LIMIT {budget}
    ) s

-- Conditions.

-- fragment: all_terms
p.search_text LIKE ALL (ARRAY(SELECT '%' || search_form(term) || '%' FROM unnest({terms}::text[]) AS term))

-- fragment: pattern
p.search_text LIKE (SELECT '%' || search_form({pattern}::text) || '%')

-- fragment: symbols
search_symbols(p.search_text) @> (SELECT search_symbols(search_form({symbols}::text)))

-- fragment: category
p.category_id = {category}

-- fragment: search_categories
ARRAY[p.category_id] && (SELECT {categories}::bigint[])

-- fragment: this_category
p.category_id = c.id

-- fragment: categories
p.category_id = ANY ({categories}::bigint[])

-- Whether a stock may be of a product of these categories, before the product itself is looked up.

-- fragment: stock_categories
coalesce(s.category_id = ANY ({categories}::bigint[]), true)

-- fragment: min_price
p.price_cents >= {price}

-- fragment: max_price
p.price_cents <= {price}

-- fragment: in_stock
s.quantity > 0

-- The stretch of ids, or of price levels, that a search is narrowed to.

-- fragment: id_stretch
ARRAY[p.id >> 13] && ARRAY(SELECT generate_series({low}::bigint >> 13, {high}::bigint >> 13))

-- fragment: price_stretch
ARRAY[price_level(p.price_cents)] && ARRAY(SELECT generate_series(price_level({low}), price_level({high})))

-- fragment: lowest
(SELECT {column} FROM products p WHERE p.deleted_at IS NULL ORDER BY {column} LIMIT 1)

-- fragment: highest
(SELECT {column} FROM products p WHERE p.deleted_at IS NULL ORDER BY {column} DESC LIMIT 1)

-- Columns.

-- fragment: price
p.price_cents

-- fragment: quantity
s.quantity

-- fragment: name
p.form

-- fragment: name_within_source
search_form(p.name) COLLATE "C"

-- fragment: created_at
p.created_at

-- fragment: id
p.id

-- fragment: stock_id
s.product_id

-- Positions.

-- fragment: name_value
search_form({value}::text)

-- fragment: equal
{column} = {value}

-- fragment: above
{column} > {value}

-- fragment: below
{column} < {value}

-- fragment: from_above
{column} >= {value}

-- fragment: from_below
{column} <= {value}

-- fragment: pair_above
({column}, {id}) > ({value}, {last})

-- fragment: pair_below
({column}, {id}) < ({value}, {last})

-- fragment: either
({first} OR ({equal} AND {rest}))

-- fragment: or_end
({condition} OR is_end)

-- fragment: ascending
{column} ASC

-- fragment: descending
{column} DESC

-- fragment: end_first
is_end DESC
