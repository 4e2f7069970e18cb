-- New products, at the time of the transaction.
-- $1 bigint[] ids, $2 text[] skus, $3 text[] names, $4 text[] descriptions, $5 bigint[] prices, $6 bigint[] categories
-- Breaks products_sku_key where a sku has just been taken.
INSERT INTO products (id, sku, name, description, price_cents, category_id)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
