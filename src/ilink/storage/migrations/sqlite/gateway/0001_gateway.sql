-- The gateway's state. Times are milliseconds since 1970 of the gateway's own clock.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE person (
    id INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL
);

-- One bot has one token, of which only the hash is kept, and one mailbox: the entries with its seq.
CREATE TABLE bot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bot_id TEXT NOT NULL UNIQUE,
    owner_user_id TEXT NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    token_hash BLOB NOT NULL,
    revoke_ms INTEGER,
    head_seq INTEGER NOT NULL DEFAULT 0,
    handed_seq INTEGER NOT NULL DEFAULT 0,
    acked_seq INTEGER NOT NULL DEFAULT 0,
    last_poll_ms INTEGER,
    is_notified INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX bot_by_owner ON bot (owner_user_id, state);

-- The token of a confirmed code follows from `secret`, which is forgotten with the code.
CREATE TABLE code (
    qrcode TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret BLOB NOT NULL,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    known_bots TEXT NOT NULL,
    user_id TEXT,
    digits TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    redirect_host TEXT,
    bot_id TEXT
) WITHOUT ROWID;

-- Every message of every chat, refused sends included. direction 0 is in, to the bot; 1 is out, from the bot.
CREATE TABLE entry (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    direction INTEGER NOT NULL,
    seq INTEGER,
    client_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    shown_ms INTEGER,
    why TEXT,
    cut INTEGER,
    wire BLOB NOT NULL
);
CREATE INDEX entry_by_chat ON entry (bot, user_id, n);
CREATE UNIQUE INDEX entry_by_seq ON entry (bot, seq) WHERE seq IS NOT NULL;
CREATE INDEX entry_by_client_id ON entry (bot, client_id) WHERE direction = 1;

CREATE TABLE chat (
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    last_inbound_ms INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    context_token TEXT NOT NULL,
    PRIMARY KEY (bot, user_id)
) WITHOUT ROWID;

CREATE TABLE context_token (
    token TEXT PRIMARY KEY,
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    issued_ms INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX context_token_by_chat ON context_token (bot, user_id, issued_ms);

CREATE TABLE typing_ticket (
    ticket TEXT PRIMARY KEY,
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    issued_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX typing_ticket_by_chat ON typing_ticket (bot, user_id, issued_ms);

-- A permission to upload one blob, as getuploadurl gave it.
CREATE TABLE upload_ticket (
    param TEXT PRIMARY KEY,
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    filekey TEXT NOT NULL,
    media_type INTEGER NOT NULL,
    plain_bytes INTEGER NOT NULL,
    plain_md5 TEXT NOT NULL,
    cipher_bytes INTEGER NOT NULL,
    aes_key TEXT NOT NULL,
    is_thumbnail INTEGER NOT NULL,
    issued_ms INTEGER NOT NULL,
    used_ms INTEGER
) WITHOUT ROWID;
