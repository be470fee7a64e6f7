-- Files that wait to be sent, and what is known of messages whose answers were lost.
ALTER TABLE outbox ADD COLUMN file TEXT;                              -- what is to be uploaded, as JSON; the item is empty until then
ALTER TABLE outbox ADD COLUMN uploaded_ms INTEGER;                    -- when the item was made by an upload; its link lives for a while
ALTER TABLE outbox ADD COLUMN is_doubtful INTEGER NOT NULL DEFAULT 0; -- an attempt was written without an answer: it may have arrived
CREATE INDEX outbox_files ON outbox (client_id) WHERE file IS NOT NULL AND state IN (0, 6, 7);
CREATE INDEX outbox_asked ON outbox (account_id, out_seq) WHERE state = 7;

-- When one message may be tried although the server refused the last one, and how many refusals came in a row.
ALTER TABLE windows ADD COLUMN probe_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE windows ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
