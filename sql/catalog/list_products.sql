-- A page of products: not one statement but the fragments that one is made of. Words in braces are
-- other fragments or values; each value becomes a numbered parameter. What a request does not ask
-- for is not in its statement, so the planner sees only conditions that restrict.
-- Row: id, sku, name, description, price_cents, category_id, quantity, created_at, updated_at,
-- version, stock_version; one row more than the page holds tells that another page follows.
-- Served by products_pkey without an ordering, by products_price_idx, products_name_idx and
-- products_created_idx as leading orderings, by products_category_idx for a category. Ordering by
-- stock sorts what the filters leave: an index on the quantity would cost every sale a rewrite.

-- fragment: select
SELECT p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version
FROM products p
JOIN stock s ON s.product_id = p.id
WHERE p.deleted_at IS NULL

-- fragment: term
  AND (upper(p.name) LIKE '%' || upper({term}::text) || '%'
       OR upper(p.description) LIKE '%' || upper({term}::text) || '%'
       OR upper(p.sku) LIKE '%' || upper({term}::text) || '%')

-- fragment: categories
  AND p.category_id = ANY ({categories}::bigint[])

-- fragment: min_price
  AND p.price_cents >= {min_price}

-- fragment: max_price
  AND p.price_cents <= {max_price}

-- fragment: in_stock
  AND s.quantity > 0

-- fragment: price
p.price_cents

-- fragment: stock
s.quantity

-- fragment: name
p.name

-- fragment: created_at
p.created_at

-- The rows after the last row of the page before. The bound on the leading column alone is implied
-- by the rest; it is what an index can start from.

-- fragment: from_ascending
  AND {column} >= {value}

-- fragment: from_descending
  AND {column} <= {value}

-- fragment: after
  AND {position}

-- fragment: after_ascending
({column} > {value} OR ({column} = {value} AND {rest}))

-- fragment: after_descending
({column} < {value} OR ({column} = {value} AND {rest}))

-- fragment: after_id
p.id > {id}

-- fragment: order
ORDER BY {columns} p.id LIMIT {limit}

-- fragment: ascending
{column} ASC,

-- fragment: descending
{column} DESC,
