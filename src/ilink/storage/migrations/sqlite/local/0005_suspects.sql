-- The second guard against duplicates, and a clock that was set while the journal was open.
ALTER TABLE inbox ADD COLUMN resembles TEXT;  -- the identity of a message that said the same shortly before
ALTER TABLE journals ADD COLUMN suspects INTEGER NOT NULL DEFAULT 0;          -- of these, handled with that mark
ALTER TABLE journals ADD COLUMN suspects_dropped INTEGER NOT NULL DEFAULT 0;  -- and stored only
ALTER TABLE journals ADD COLUMN clock_gap_ms INTEGER NOT NULL DEFAULT 0;      -- how far the machine's clock was set ahead
