-- Writes edited products as they are now, at the time of the transaction; their stock is locked.
-- $1 bigint[] ids, $2 text[] skus, $3 text[] names, $4 text[] descriptions, $5 bigint[] prices, $6 bigint[] categories, $7 bigint[] versions
-- Breaks products_sku_key where a sku has just been taken.
UPDATE products p
SET sku = n.sku, name = n.name, description = n.description, price_cents = n.price_cents,
    category_id = n.category_id, version = n.version, updated_at = now()
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
     AS n (id, sku, name, description, price_cents, category_id, version)
WHERE p.id = n.id
