-- One product with its stock, read by its id: what the shop asks for when it knows nothing of a product.
\set id random(:low, :high)
SELECT e.last_seq, p.id, p.sku, p.name, p.description, p.price_cents, p.category_id, s.quantity,
       p.created_at, p.updated_at, p.version, s.version AS stock_version
FROM event_counter e
LEFT JOIN (products p JOIN stock s ON s.product_id = p.id) ON p.id = :id AND p.deleted_at IS NULL;
