-- Updates that failed too often and hold their conversation up, until somebody replays or drops them.
ALTER TABLE inbox ADD COLUMN is_parked INTEGER NOT NULL DEFAULT 0;
DROP INDEX inbox_dead;
CREATE INDEX inbox_dead ON inbox (account_id, seq) WHERE (state = 2 OR is_parked = 1);
