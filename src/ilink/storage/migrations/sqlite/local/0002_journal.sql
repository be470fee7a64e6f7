-- What is written down before it is acted on. A row per account; the epoch counts the processes that took it over, and
-- one that was taken over from may not complete anything any more.
CREATE TABLE journals (
    account_id TEXT    NOT NULL PRIMARY KEY,
    epoch      INTEGER NOT NULL DEFAULT 0,
    is_open    INTEGER NOT NULL DEFAULT 0,  -- whether a process took it over and has not given it back
    duplicates INTEGER NOT NULL DEFAULT 0   -- updates that had been stored before and were dropped
) STRICT, WITHOUT ROWID;

-- Every update as it came. Sequences are shared by all accounts, so those of one account grow with gaps. Rows that are done stay for a while, because their identities recognise duplicates.
CREATE TABLE inbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   TEXT    NOT NULL,
    conversation TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    identity     TEXT    NOT NULL,
    state        INTEGER NOT NULL,            -- 0 waiting, 1 done, 2 dead, 3 ignored
    claim        INTEGER NOT NULL DEFAULT 0,  -- counts runs; only the newest may complete
    attempts     INTEGER NOT NULL DEFAULT 0,  -- runs that failed
    interrupted  INTEGER NOT NULL DEFAULT 0,  -- runs that died with their process
    is_running   INTEGER NOT NULL DEFAULT 0,  -- a suspicious one is being handled
    due_ms       INTEGER NOT NULL DEFAULT 0,  -- not before
    received_ms  INTEGER NOT NULL,
    finished_ms  INTEGER,
    error        TEXT,
    raw          BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX inbox_identity ON inbox (account_id, identity);
CREATE INDEX inbox_waiting ON inbox (account_id, conversation, seq) WHERE state = 0;
CREATE INDEX inbox_dead ON inbox (account_id, seq) WHERE state = 2;

-- Every outgoing message, written before it is sent. What it answers and its place in that answer make its client id.
CREATE TABLE outbox (
    out_seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   TEXT    NOT NULL,
    conversation TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    client_id    TEXT    NOT NULL,
    cause_seq    INTEGER,                     -- the update it answers
    is_progress  INTEGER NOT NULL,
    item         BLOB    NOT NULL,            -- the one item, as it goes on the wire
    run_id       TEXT,
    state        INTEGER NOT NULL,            -- 0 waiting, 1 accepted, 2 unconfirmed, 3 rejected, 4 unknown, 5 expired, 6 in flight, 7 asked
    attempts     INTEGER NOT NULL DEFAULT 0,
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER,
    finished_ms  INTEGER,
    message_id   TEXT,
    code         INTEGER,
    reason       TEXT
) STRICT;
CREATE UNIQUE INDEX outbox_client_id ON outbox (account_id, client_id);
CREATE INDEX outbox_waiting ON outbox (account_id, conversation, out_seq) WHERE state IN (0, 6, 7);

-- What is known about sending to each user.
CREATE TABLE windows (
    account_id      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    heard_ms        INTEGER,
    sent            INTEGER NOT NULL,
    credit          INTEGER NOT NULL,
    allowance       INTEGER NOT NULL,
    is_strict       INTEGER NOT NULL,
    is_closed       INTEGER NOT NULL,
    paused_until_ms INTEGER NOT NULL,
    pauses          INTEGER NOT NULL,
    PRIMARY KEY (account_id, user_id)
) STRICT, WITHOUT ROWID;

-- What handlers keep of a conversation; it changes together with the success of the handler that changed it.
CREATE TABLE conversations (
    account_id   TEXT NOT NULL,
    conversation TEXT NOT NULL,
    state        BLOB NOT NULL,
    PRIMARY KEY (account_id, conversation)
) STRICT, WITHOUT ROWID;
