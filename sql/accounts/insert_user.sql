-- Makes an account and its cart.
-- $1 text username, $2 text email, $3 text password hash, $4 boolean staff
-- Row: id, username, email, is_staff, date_joined. Breaks users_username_key or users_email_key
-- when somebody has the name or the address already.
WITH made AS (
    INSERT INTO users (username, email, password_hash, is_staff)
    VALUES ($1, $2, $3, $4)
    RETURNING id, username, email, is_staff, date_joined
), cart AS (
    INSERT INTO carts (user_id) SELECT id FROM made
)
SELECT id, username, email, is_staff, date_joined FROM made
