-- The accounts of a database. The generation counts the logins of one account: who read an older one may not write.
-- A token is sealed with AES-GCM under the key that key_id names, bound to its account and generation; key_id is empty
-- for a token that lies open, because the database was given no key.
CREATE TABLE accounts (
    account_id    text   COLLATE "C" NOT NULL PRIMARY KEY,
    owner_id      text   COLLATE "C",
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
    account_id text   COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    generation bigint NOT NULL,
    cursor     text   NOT NULL,
    hint_ms    bigint               -- the server's newest suggestion for the time limit of a poll
) WITH (fillfactor = 50);

-- The newest context token of each user; it belongs to the account that heard it.
CREATE TABLE peers (
    account_id    text   COLLATE "C" NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id       text   COLLATE "C" NOT NULL,
    context_token text   NOT NULL,
    updated_at_ms bigint NOT NULL,
    PRIMARY KEY (account_id, user_id)
) WITH (fillfactor = 60);

-- Ends a unit of work of somebody whose login is not the newest any more. The row is held until that unit is done.
CREATE FUNCTION check_generation(p_account text, p_generation bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_newest bigint;
BEGIN
    SELECT generation INTO v_newest FROM accounts WHERE account_id = p_account FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account % was removed; sign in again', p_account USING ERRCODE = 'IL001';
    ELSIF v_newest <> p_generation THEN
        RAISE EXCEPTION 'the account % was signed in again by another process; start this one anew', p_account
            USING ERRCODE = 'IL001';
    END IF;
END $$;

CREATE FUNCTION put_position(p_account text, p_generation bigint, p_cursor text, p_hint_ms bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_generation(p_account, p_generation);
    INSERT INTO positions AS p (account_id, generation, cursor, hint_ms)
    VALUES (p_account, p_generation, p_cursor, p_hint_ms)
    ON CONFLICT (account_id) DO UPDATE SET
        generation = excluded.generation, cursor = excluded.cursor, hint_ms = excluded.hint_ms;
END $$;

CREATE FUNCTION put_context_token(p_account text, p_generation bigint, p_user text, p_token text, p_at_ms bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_generation(p_account, p_generation);
    INSERT INTO peers (account_id, user_id, context_token, updated_at_ms) VALUES (p_account, p_user, p_token, p_at_ms)
    ON CONFLICT (account_id, user_id) DO UPDATE SET
        context_token = excluded.context_token, updated_at_ms = excluded.updated_at_ms;
END $$;

-- Stores the success of a login, or nothing when another one was stored since `p_before` was read: the token is sealed
-- for its generation, so that has to be known beforehand. Logins are stored one at a time, because of what two of one
-- owner would do to each other; nobody else waits for that.
CREATE FUNCTION put_account(
    p_account text, p_owner text, p_base_url text, p_key_id text, p_token bytea, p_before bigint, p_at_ms bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    a accounts;
    v_displaced text[];
BEGIN
    LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO a FROM accounts WHERE account_id = p_account;
    IF coalesce(a.generation, 0) <> p_before THEN
        RETURN false;
    END IF;
    WITH displaced AS (
        UPDATE accounts SET state = 'displaced', key_id = '', token = '', generation = generation + 1
        WHERE owner_id = p_owner AND base_url = p_base_url AND account_id <> p_account RETURNING account_id)
    SELECT array_agg(account_id) INTO v_displaced FROM displaced;
    INSERT INTO accounts (account_id, owner_id, base_url, key_id, token, generation, state, created_at_ms)
    VALUES (p_account, p_owner, p_base_url, p_key_id, p_token, p_before + 1, 'active', p_at_ms)
    ON CONFLICT (account_id) DO UPDATE SET
        owner_id = excluded.owner_id, base_url = excluded.base_url, key_id = excluded.key_id, token = excluded.token,
        generation = excluded.generation, state = excluded.state, created_at_ms = excluded.created_at_ms;
    IF a.owner_id IS NOT NULL AND a.owner_id = p_owner OR p_before > 0 AND a.owner_id IS NULL AND p_owner IS NULL THEN
        UPDATE positions SET generation = p_before + 1 WHERE account_id = p_account;
    ELSE
        v_displaced := v_displaced || p_account;
    END IF;
    DELETE FROM positions WHERE account_id = ANY (v_displaced);
    DELETE FROM peers WHERE account_id = ANY (v_displaced);
    RETURN true;
END $$;
