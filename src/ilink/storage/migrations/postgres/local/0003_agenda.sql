-- What is to be done at a time. A moment leaves this table in the same step in which it enters the inbox.
CREATE TABLE jobs (
    account_id  text    COLLATE "C" NOT NULL,
    name        text    COLLATE "C" NOT NULL,
    handler     text    NOT NULL,
    plan        text    NOT NULL,
    data        bytea   NOT NULL,            -- JSON
    next_ms     bigint,                      -- when it is due; null when it is over
    last_ms     bigint,                      -- for which moment it was done last
    is_declared boolean NOT NULL,            -- by the program, at every start
    PRIMARY KEY (account_id, name)
);

-- Results of what a handler does once, whatever happens to the run that did it.
CREATE TABLE results (
    account_id text   COLLATE "C" NOT NULL,
    cause      text   COLLATE "C" NOT NULL,  -- the identity of the update
    name       text   COLLATE "C" NOT NULL,
    result     bytea  NOT NULL,              -- JSON
    created_ms bigint NOT NULL,
    PRIMARY KEY (account_id, cause, name)
);

-- Takes a due job off the agenda and puts it into the inbox; no identity means that it is skipped this time.
CREATE FUNCTION fire_job(
    p_account text, p_name text, p_due_ms bigint, p_next_ms bigint,
    p_conversation text, p_user text, p_identity text, p_raw bytea, p_now_ms bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_journal(p_account);
    UPDATE jobs SET next_ms = p_next_ms, last_ms = p_due_ms
    WHERE account_id = p_account AND name = p_name AND next_ms = p_due_ms;
    IF NOT FOUND OR p_identity IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN post_update(p_account, p_conversation, p_user, p_identity, p_raw, p_now_ms);
END $$;
