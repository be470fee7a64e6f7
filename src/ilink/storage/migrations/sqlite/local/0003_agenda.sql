-- A conversation in which a handler waits for an answer is looked at again at a moment, though nobody writes; one whose
-- state is worth nothing any more after a moment is forgotten then.
ALTER TABLE conversations ADD COLUMN due_ms INTEGER;
ALTER TABLE conversations ADD COLUMN expires_ms INTEGER;
CREATE INDEX conversations_due ON conversations (account_id, due_ms) WHERE due_ms IS NOT NULL;

-- What is to be done at a time. A moment leaves this table in the same step in which it enters the inbox.
CREATE TABLE jobs (
    account_id  TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    handler     TEXT    NOT NULL,
    plan        TEXT    NOT NULL,
    data        BLOB    NOT NULL,            -- JSON
    next_ms     INTEGER,                     -- when it is due; null when it is over
    last_ms     INTEGER,                     -- for which moment it was done last
    is_declared INTEGER NOT NULL,            -- by the program, at every start
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;

-- Results of what a handler does once, whatever happens to the run that did it.
CREATE TABLE results (
    account_id TEXT    NOT NULL,
    cause      TEXT    NOT NULL,             -- the identity of the update
    name       TEXT    NOT NULL,
    result     BLOB    NOT NULL,             -- JSON
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, cause, name)
) STRICT, WITHOUT ROWID;

-- Quotes name the messages of both sides by the server's ids; incoming ones are found by their identity.
CREATE INDEX outbox_message_id ON outbox (account_id, message_id) WHERE message_id IS NOT NULL;
