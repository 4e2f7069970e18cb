-- Removes keys that have outlived their 24 hours, a bounded number at a time.
-- $1 bigint most rows to remove
-- Served by idempotency_keys_created_idx.
DELETE FROM idempotency_keys
WHERE (user_id, path, key) IN (
    SELECT user_id, path, key FROM idempotency_keys
    WHERE created_at < now() - interval '24 hours' LIMIT $1
)
