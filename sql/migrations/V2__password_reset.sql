-- Links to choose a new password that were asked for and not yet mailed, by address: whether an
-- account has the address is found out when the mail is written, so that the request tells nobody.
-- A row lives for moments, or for as long as the mail server is away.
CREATE TABLE password_reset_requests (
    email         text PRIMARY KEY CHECK (char_length(email) <= 254),
    requested_at  timestamptz NOT NULL DEFAULT now(),
    -- Until then, a node is at work on it; another one takes over if that node dies.
    claimed_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE INDEX password_resets_user_idx ON password_resets (user_id) WHERE used_at IS NULL;
CREATE INDEX password_resets_expiry_idx ON password_resets (expires_at);
