-- The accounts of a database. The generation counts the logins of one account: who read an older one may not write.
-- A token is sealed with AES-GCM under the key that key_id names, bound to its account and generation; key_id is empty
-- for a token that lies open, because the database was given no key.
CREATE TABLE accounts (
    account_id    text   NOT NULL PRIMARY KEY,
    owner_id      text,
    base_url      text   NOT NULL,
    key_id        text   NOT NULL,
    token         bytea  NOT NULL,  -- empty once it is known to be worth nothing
    generation    bigint NOT NULL CHECK (generation > 0),
    state         text   NOT NULL CHECK (state IN ('active', 'stale', 'displaced')),
    created_at_ms bigint NOT NULL   -- of the newest login
) WITH (fillfactor = 80);
CREATE INDEX accounts_owner ON accounts (owner_id, base_url) WHERE owner_id IS NOT NULL;

-- Where reading stopped: one row per account, written together with the updates it follows.
CREATE TABLE positions (
    account_id text   NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    generation bigint NOT NULL,
    cursor     text   NOT NULL,
    hint_ms    bigint               -- the server's newest suggestion for the time limit of a poll
) WITH (fillfactor = 50);

-- The newest context token of each user; it belongs to the account that heard it.
CREATE TABLE peers (
    account_id    text   NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id       text   NOT NULL,
    context_token text   NOT NULL,
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (account_id, user_id)
) WITH (fillfactor = 60);

-- Raises what ends a unit of work of somebody whose login is not the newest any more.
CREATE FUNCTION check_generation(p_account text, p_generation bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current_generation bigint;
BEGIN
    SELECT generation INTO current_generation FROM accounts WHERE account_id = p_account FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account % was removed from this machine; sign in again', p_account USING ERRCODE = 'IL001';
    ELSIF current_generation <> p_generation THEN
        RAISE EXCEPTION 'the account % was signed in again by another process; start this one anew', p_account
            USING ERRCODE = 'IL001';
    END IF;
END $$;
