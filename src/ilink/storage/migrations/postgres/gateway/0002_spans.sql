-- Messages lie in one table per day, so that old days are dropped whole, once the gateway knows how long to keep them.
--
-- A table holds a span of 2^32 numbers. When a day is over the numbers jump to the next span, which was made ahead: so a
-- day is known by its numbers, a message is looked up by its number in one table, and the newest of a chat are found in
-- the newest tables. What no table can see to any more, that (bot, seq) is there once, is seen to by the lock on the
-- bot's row, under which seq is handed out.
--
-- Context tokens, typing tickets, permissions to upload and media stay in one table each: they are looked up by a name
-- that must be there once whatever the day, and a unique key of tables per day would be one per day. They are deleted in
-- batches.
ALTER TABLE entry RENAME TO entry_old;
ALTER SEQUENCE entry_n OWNED BY NONE;
DROP INDEX entry_by_seq;
ALTER INDEX entry_pkey RENAME TO entry_old_pkey;
ALTER INDEX entry_by_chat RENAME TO entry_old_by_chat;
ALTER INDEX entry_by_bot RENAME TO entry_old_by_bot;
ALTER INDEX entry_by_client_id RENAME TO entry_old_by_client_id;

CREATE TABLE entry (LIKE entry_old INCLUDING DEFAULTS, PRIMARY KEY (n)) PARTITION BY RANGE (n);
CREATE INDEX entry_by_chat ON entry (bot, user_id, n);
CREATE INDEX entry_by_bot ON entry (bot, n);
CREATE INDEX entry_by_seq ON entry (bot, seq) WHERE seq IS NOT NULL;
CREATE INDEX entry_by_client_id ON entry (bot, client_id) WHERE direction = 1;
ALTER SEQUENCE entry_n OWNED BY entry.n;

-- The spans that have a table. begun_day is the gateway's own day, since 1970, on which numbers of it were first given.
CREATE TABLE entry_span (
    span bigint PRIMARY KEY,
    begun_day bigint
);

CREATE FUNCTION entry_table(p_span bigint) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 'entry_' || p_span
$$;

-- A table that is attached takes a lock that nobody who writes has to wait for, unlike one that is made as a partition.
CREATE FUNCTION make_entry_span(p_span bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM entry_span WHERE span = p_span) THEN
        RETURN;
    END IF;
    INSERT INTO entry_span (span) VALUES (p_span) ON CONFLICT DO NOTHING;  -- waits for whoever is just making it
    IF FOUND THEN
        EXECUTE format('CREATE TABLE %I (LIKE entry INCLUDING DEFAULTS INCLUDING INDEXES)', entry_table(p_span));
        EXECUTE format(
            'ALTER TABLE entry ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            entry_table(p_span), p_span << 32, (p_span + 1) << 32);
    END IF;
END $$;

CREATE FUNCTION entry_current_span() RETURNS bigint LANGUAGE sql AS $$
    SELECT last_value >> 32 FROM entry_n
$$;

-- What there is becomes the first table, or the tables of its spans should it fill several.
DO $$
DECLARE
    v_last bigint := (SELECT greatest(coalesce(max(n), 0), 0) >> 32 FROM entry_old);
BEGIN
    IF v_last = 0 THEN
        EXECUTE format('ALTER TABLE entry_old RENAME TO %I', entry_table(0));
        EXECUTE format(
            'ALTER TABLE entry ATTACH PARTITION %I FOR VALUES FROM (0) TO (%s)', entry_table(0), 1::bigint << 32);
        INSERT INTO entry_span (span) VALUES (0);
    ELSE
        PERFORM make_entry_span(span) FROM generate_series(0, v_last) AS span;
        INSERT INTO entry SELECT * FROM entry_old;
        DROP TABLE entry_old;
    END IF;
    PERFORM make_entry_span(entry_current_span() + ahead) FROM generate_series(0, 1) AS ahead;
END $$;

-- Begins the span of a new day, and makes the table of the one after it. Messages of two days may share a table if nobody
-- called this in between; then they are dropped together, a day late.
CREATE FUNCTION begin_entry_day(p_day bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_span bigint;
    v_day  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(current_schema() || '.entry_span', 0));
    v_span := entry_current_span();
    SELECT begun_day INTO v_day FROM entry_span WHERE span = v_span;
    IF v_day >= p_day THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM entry WHERE n >= v_span << 32) THEN
        v_span := v_span + 1;
        PERFORM make_entry_span(v_span);
        PERFORM setval('entry_n', v_span << 32, false);
    END IF;
    UPDATE entry_span SET begun_day = p_day WHERE span = v_span;
    PERFORM make_entry_span(v_span + 1);
END $$;

-- Drops the oldest table if all in it is older than a moment, and says whether there was one. Who reads or writes in the
-- meantime waits for these milliseconds; if somebody reads for longer, a copy for a backup say, it is left for later.
CREATE FUNCTION drop_entry_span(p_before_ms bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_span   bigint;
    v_newest bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.entry_span', 0)) THEN
        RETURN false;
    END IF;
    SELECT min(span) INTO v_span FROM entry_span WHERE span < entry_current_span();
    IF v_span IS NULL THEN
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);
    LOCK TABLE entry IN ACCESS EXCLUSIVE MODE;
    -- Several, because the clocks of two processes may differ a little.
    EXECUTE format(
        'SELECT max(at_ms) FROM (SELECT at_ms FROM %I ORDER BY n DESC LIMIT 1000) AS newest', entry_table(v_span))
        INTO v_newest;
    IF v_newest >= p_before_ms THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', entry_table(v_span));
    DELETE FROM entry_span WHERE span = v_span;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- Deletes what is old in a table that is not old as a whole: the oldest messages up to the first that is younger.
CREATE FUNCTION forget_entries(p_before_ms bigint, p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_young   bigint;
    v_last    bigint;
    v_deleted integer;
BEGIN
    SELECT min(n) FILTER (WHERE at_ms >= p_before_ms), max(n) INTO v_young, v_last
        FROM (SELECT n, at_ms FROM entry ORDER BY n LIMIT p_most) AS oldest;
    DELETE FROM entry WHERE n < coalesce(v_young, v_last + 1);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END $$;

-- Small, because what is old lies together: for finding it by its age.
CREATE INDEX context_token_by_age ON context_token USING brin (issued_ms) WITH (autosummarize = on);
CREATE INDEX typing_ticket_by_age ON typing_ticket USING brin (issued_ms) WITH (autosummarize = on);
CREATE INDEX upload_ticket_by_age ON upload_ticket USING brin (issued_ms) WITH (autosummarize = on);

-- Context tokens that are not a chat's newest, and tickets.
CREATE FUNCTION forget_tokens(p_before_ms bigint, p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_all     integer := 0;
    v_deleted integer;
BEGIN
    DELETE FROM context_token WHERE token IN (
        SELECT token FROM context_token AS old WHERE issued_ms < p_before_ms AND NOT EXISTS (
            SELECT FROM chat WHERE chat.bot = old.bot AND chat.user_id = old.user_id AND context_token = old.token
        ) LIMIT p_most);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    v_all := v_all + v_deleted;
    DELETE FROM typing_ticket WHERE ticket IN (
        SELECT ticket FROM typing_ticket WHERE issued_ms < p_before_ms LIMIT p_most);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    v_all := v_all + v_deleted;
    DELETE FROM upload_ticket WHERE param IN (SELECT param FROM upload_ticket WHERE issued_ms < p_before_ms LIMIT p_most);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_all + v_deleted;
END $$;

-- Forgets everything but the meta values, and numbers begin again with the first table.
CREATE FUNCTION clear_gateway() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE person, bot, code, entry, chat, read_mark, context_token, typing_ticket, upload_ticket RESTART IDENTITY;
    UPDATE entry_span SET begun_day = NULL WHERE begun_day IS NOT NULL;
    PERFORM make_entry_span(0), make_entry_span(1);
END $$;
