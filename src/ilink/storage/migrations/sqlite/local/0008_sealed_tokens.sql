-- Names the key that an account's token is sealed with; empty for one that lies open, as the file itself is private.
ALTER TABLE accounts ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
