-- What the gateway's CDN keeps of each blob; the bytes are files. Times are milliseconds of the gateway's own clock.
-- param is the reference to download by; ticket is the permission it was uploaded with, absent for a person's own.
-- Facts about the plain bytes are found out when somebody asks for them first.
CREATE TABLE media (
    media_id TEXT PRIMARY KEY,
    param TEXT NOT NULL UNIQUE,
    ticket TEXT UNIQUE,
    bot INTEGER NOT NULL,
    media_type INTEGER NOT NULL,
    aes_key TEXT NOT NULL,
    cipher_bytes INTEGER NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    plain_bytes INTEGER,
    sha256 TEXT,
    md5 TEXT,
    mime TEXT,
    problem TEXT
) WITHOUT ROWID;
CREATE INDEX media_by_age ON media (created_ms);
