-- Accounts of this machine. The generation counts the logins of one account: who read an older one may not write.
CREATE TABLE accounts (
    account_id    TEXT    NOT NULL PRIMARY KEY,
    owner_id      TEXT,
    base_url      TEXT    NOT NULL,
    token         TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    state         TEXT    NOT NULL,  -- active, stale (its token answered -14) or displaced (the owner's newer login won)
    created_at_ms INTEGER NOT NULL,  -- of the newest login
    CHECK (generation > 0)
) STRICT, WITHOUT ROWID;

-- Where reading stopped: one row per account, written together with the updates it follows.
CREATE TABLE positions (
    account_id TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (account_id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    cursor     TEXT    NOT NULL,
    hint_ms    INTEGER               -- the server's newest suggestion for the time limit of a poll
) STRICT, WITHOUT ROWID;

-- The newest context token of each user; it belongs to the account that heard it.
CREATE TABLE peers (
    account_id    TEXT    NOT NULL REFERENCES accounts (account_id) ON DELETE CASCADE,
    user_id       TEXT    NOT NULL,
    context_token TEXT    NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, user_id)
) STRICT, WITHOUT ROWID;
