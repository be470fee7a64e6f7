-- Who was let in by the owner, and who asks to be. A code is worth something until its time is over.
CREATE TABLE pairings (
    account_id  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    code        TEXT,                -- what the owner has to repeat; NULL once that was done
    asked_by    TEXT,                -- the message that was answered with the code
    since_ms    INTEGER NOT NULL,
    expires_ms  INTEGER,             -- of the code
    PRIMARY KEY (account_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pairings_code ON pairings (account_id, code) WHERE code IS NOT NULL;

-- Wrong codes, counted until one is right or the time is over.
CREATE TABLE pairing_guesses (
    account_id TEXT    NOT NULL PRIMARY KEY,
    wrong      INTEGER NOT NULL,
    until_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
