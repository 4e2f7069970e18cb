-- Moves orders on, at the time of the transaction, on rows it has locked.
-- $1 bigint[] orders, $2 text[] statuses
-- Served by orders_pkey.
UPDATE orders o SET status = n.status, updated_at = now()
FROM unnest($1::bigint[], $2::text[]) AS n (id, status)
WHERE o.id = n.id
