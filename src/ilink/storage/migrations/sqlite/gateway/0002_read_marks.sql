-- How far a person has read a chat on any screen: the number of the newest entry that was seen.

CREATE TABLE read_mark (
    bot INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (bot, user_id)
) WITHOUT ROWID;
