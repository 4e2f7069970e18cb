-- Whether any active account is staff's.
-- Row: exists. Always one. Reads the table; asked for at start only.
SELECT EXISTS (SELECT FROM users WHERE is_staff AND is_active)
