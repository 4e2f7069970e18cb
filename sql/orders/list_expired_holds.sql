-- Orders whose hold has run out unpaid, the longest overdue first.
-- $1 bigint rows
-- Row: id. Served by orders_expiry_idx.
SELECT id FROM orders WHERE status = 'pending' AND expires_at <= now() ORDER BY expires_at LIMIT $1::bigint
