-- Locks the stock of the products that a batch touches, in product order, which is what keeps batches
-- from deadlocking.
-- $1 bigint[] products
-- Row: product_id, quantity, version, shelf_version. No row: no such product, ever.
-- Served by stock_pkey.
SELECT product_id, quantity, version, shelf_version
FROM stock
WHERE product_id = ANY($1::bigint[])
ORDER BY product_id
FOR NO KEY UPDATE
