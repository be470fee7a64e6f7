-- What is written down before it is acted on. The row of an account is its lock: whoever writes to its journal takes it
-- first, so that sequences become visible in their order, and nobody finds a later one while an earlier one is still to
-- come. The epoch counts the processes that took the journal over; one that was taken over from may not complete
-- anything any more.
CREATE TABLE journals (
    account_id       text COLLATE "C" NOT NULL PRIMARY KEY,
    epoch            bigint    NOT NULL DEFAULT 0,
    is_open          boolean   NOT NULL DEFAULT false,  -- whether a process took it over and has not given it back
    adopter          uuid,                              -- names the last adoption: one whose answer was lost is known again
    was_open         boolean   NOT NULL DEFAULT false,  -- what that adoption was told
    duplicates       bigint    NOT NULL DEFAULT 0,      -- updates that had been stored before and were dropped
    suspects         bigint    NOT NULL DEFAULT 0,      -- handled although they resemble others
    suspects_dropped bigint    NOT NULL DEFAULT 0,      -- and stored only
    clock_gap_ms     bigint    NOT NULL DEFAULT 0,      -- how far the machine's clock was set ahead
    calls            bigint    NOT NULL DEFAULT 0,      -- changes by processes that do not own it, for it to notice
    last_group       uuid,                              -- names the owner's last group of writes, and what became of it
    last_taken       boolean[],
    last_out_seq     bigint,                            -- what was newest before it
    forget_ms        bigint,                            -- what is finished and older is worth nothing to this account
    kept_at          timestamptz                        -- when it said so
) WITH (fillfactor = 50);

CREATE FUNCTION lock_journal(p_account text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint;
BEGIN
    SELECT epoch INTO v_epoch FROM journals WHERE account_id = p_account FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO journals (account_id) VALUES (p_account) ON CONFLICT DO NOTHING;
        SELECT epoch INTO v_epoch FROM journals WHERE account_id = p_account FOR NO KEY UPDATE;
    END IF;
    RETURN v_epoch;
END $$;

-- Every update as it came, in a table per day of its arrival; old ones are dropped whole. Rows that are done stay for a
-- while, because their identities recognise duplicates; that an identity is there once is seen to under the lock of its
-- account. Sequences are shared by all accounts, so those of one account grow with gaps.
CREATE SEQUENCE inbox_seq;
CREATE TABLE inbox (
    day          integer  NOT NULL,               -- days since 1970; -1 for what outlived its day
    account_id   text     COLLATE "C" NOT NULL,
    seq          bigint   NOT NULL,
    conversation text     COLLATE "C" NOT NULL,
    user_id      text     NOT NULL,
    identity     text     COLLATE "C" NOT NULL,
    state        smallint NOT NULL,               -- 0 waiting, 1 done, 2 dead, 3 ignored
    claim        bigint   NOT NULL DEFAULT 0,     -- counts runs; only the newest may complete
    attempts     integer  NOT NULL DEFAULT 0,     -- runs that failed
    interrupted  integer  NOT NULL DEFAULT 0,     -- runs that died with their process
    is_running   boolean  NOT NULL DEFAULT false, -- a suspicious one is being handled
    is_parked    boolean  NOT NULL DEFAULT false, -- it failed too often and holds its conversation up
    due_ms       bigint   NOT NULL DEFAULT 0,     -- not before
    received_ms  bigint   NOT NULL,
    finished_ms  bigint,
    token_hash   bigint,                          -- of the context token it came with first
    error        text,
    resembles    text,                            -- the identity of a message that said the same shortly before
    raw          bytea    NOT NULL,
    PRIMARY KEY (account_id, seq, day)
) PARTITION BY RANGE (day);
-- Where rows are looked up by a key, the state is compared as `state + 0`: with a condition that fits the indexes of what
-- waits, the planner would read all that waits of the account instead, which it takes for little.
CREATE INDEX inbox_identity ON inbox (account_id, identity);
CREATE INDEX inbox_waiting ON inbox (account_id, conversation, seq) WHERE state = 0;
CREATE INDEX inbox_given_up ON inbox (account_id, seq) WHERE state = 2 OR is_parked;
CREATE TABLE inbox_kept PARTITION OF inbox FOR VALUES FROM (-1) TO (0);

-- The days that have a table, and when somebody last looked after them.
CREATE TABLE inbox_days (day integer NOT NULL PRIMARY KEY);
CREATE TABLE inbox_keeping (
    is_only   boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (is_only),
    looked_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO inbox_keeping DEFAULT VALUES;

CREATE FUNCTION inbox_table(p_day integer) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 'inbox_' || to_char(date '1970-01-01' + p_day, 'YYYYMMDD')
$$;

-- A table that is attached takes a lock that nobody who writes has to wait for, unlike one that is made as a partition.
CREATE FUNCTION make_inbox_day(p_day integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inbox_days WHERE day = p_day) THEN
        RETURN;
    END IF;
    INSERT INTO inbox_days (day) VALUES (p_day) ON CONFLICT DO NOTHING;  -- waits for whoever is just making it
    IF FOUND THEN
        EXECUTE format('CREATE TABLE %I (LIKE inbox INCLUDING DEFAULTS INCLUDING INDEXES)', inbox_table(p_day));
        EXECUTE format(
            'ALTER TABLE inbox ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', inbox_table(p_day), p_day, p_day + 1);
    END IF;
END $$;

CREATE FUNCTION today() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - date '1970-01-01'
$$;

-- What waits or is dead moves out first. Who reads or writes in the meantime waits for these milliseconds; if somebody
-- reads for longer, a copy for a backup say, the day is left for later.
CREATE FUNCTION drop_inbox_day(p_day integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE;
    UPDATE inbox SET day = -1 WHERE day = p_day AND state IN (0, 2);
    EXECUTE format('DROP TABLE %I', inbox_table(p_day));
    DELETE FROM inbox_days WHERE day = p_day;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- A day is dropped when it has been over for two days by the clock of this database, and every account that is looked
-- after has said that it needs nothing of it: no machine with a wrong clock can make the others forget.
CREATE FUNCTION keep_inbox_days(p_pause interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_day     integer;
    v_dropped integer := 0;
BEGIN
    UPDATE inbox_keeping SET looked_at = clock_timestamp() WHERE looked_at < clock_timestamp() - p_pause;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    FOR v_day IN SELECT generate_series(today(), today() + 2) LOOP
        PERFORM make_inbox_day(v_day);
    END LOOP;
    FOR v_day IN
        SELECT d.day FROM inbox_days d
        WHERE d.day < today() - 2 AND (d.day + 1) * 86400000::bigint <=
            (SELECT min(forget_ms) FROM journals WHERE kept_at > clock_timestamp() - interval '3 days')
        ORDER BY d.day
    LOOP
        EXIT WHEN NOT drop_inbox_day(v_day);
        v_dropped := v_dropped + 1;
    END LOOP;
    RETURN v_dropped;
END $$;

-- Every outgoing message, written before it is sent. What it answers and its place in that answer make its client id.
CREATE SEQUENCE outbox_seq;
CREATE TABLE outbox (
    account_id   text     COLLATE "C" NOT NULL,
    out_seq      bigint   NOT NULL,
    conversation text     COLLATE "C" NOT NULL,
    user_id      text     NOT NULL,
    client_id    text     COLLATE "C" NOT NULL,
    cause_seq    bigint,                          -- the update it answers
    is_progress  boolean  NOT NULL,
    item         bytea    NOT NULL,               -- the one item, as it goes on the wire; empty until a file is uploaded
    file         text,                            -- what is to be uploaded, as JSON
    run_id       text,
    state        smallint NOT NULL DEFAULT 0,     -- 0 waiting, 1 accepted, 2 unconfirmed, 3 rejected, 4 unknown, 5 expired, 6 in flight, 7 asked
    attempts     integer  NOT NULL DEFAULT 0,
    is_doubtful  boolean  NOT NULL DEFAULT false, -- an attempt was written without an answer: it may have arrived
    created_ms   bigint   NOT NULL,
    expires_ms   bigint,
    uploaded_ms  bigint,                          -- when the item was made by an upload; its link lives for a while
    finished_ms  bigint,
    message_id   text     COLLATE "C",
    code         bigint,
    reason       text,
    PRIMARY KEY (account_id, out_seq)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX outbox_client_id ON outbox (account_id, client_id);
CREATE INDEX outbox_waiting ON outbox (account_id, conversation, out_seq) WHERE state IN (0, 6, 7);
CREATE INDEX outbox_message_id ON outbox (account_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX outbox_files ON outbox (client_id) WHERE file IS NOT NULL AND state IN (0, 6, 7);

-- What is known about sending to each user; the rules that change it are those of ilink/flows/window.py.
CREATE TABLE windows (
    account_id      text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    heard_ms        bigint,
    sent            bigint  NOT NULL DEFAULT 0,
    credit          bigint  NOT NULL DEFAULT 10,
    allowance       bigint  NOT NULL DEFAULT 10,
    is_strict       boolean NOT NULL DEFAULT false,
    is_closed       boolean NOT NULL DEFAULT false,
    paused_until_ms bigint  NOT NULL DEFAULT 0,
    pauses          bigint  NOT NULL DEFAULT 0,
    probe_ms        bigint  NOT NULL DEFAULT 0,
    refusals        bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, user_id)
) WITH (fillfactor = 60);

-- What handlers keep of a conversation; it changes together with the success of the handler that changed it. One in
-- which a handler waits for an answer is looked at again when it is due; one that is worth nothing any more is forgotten.
CREATE TABLE conversations (
    account_id   text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    state        bytea NOT NULL,
    due_ms       bigint,
    expires_ms   bigint,
    PRIMARY KEY (account_id, conversation)
) WITH (fillfactor = 80);
CREATE INDEX conversations_due ON conversations (account_id, due_ms) WHERE due_ms IS NOT NULL;

CREATE FUNCTION new_window(p_account text, p_user text) RETURNS windows LANGUAGE sql IMMUTABLE AS $$
    SELECT p_account, p_user, NULL::bigint, 0::bigint, 10::bigint, 10::bigint, false, false,
           0::bigint, 0::bigint, 0::bigint, 0::bigint
$$;

CREATE FUNCTION window_heard(w windows, p_at bigint, p_messages bigint) RETURNS windows LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_kept bigint := 0;
BEGIN
    IF w.is_strict AND w.allowance < 10 THEN
        w.allowance := w.allowance + 1;
    END IF;
    IF w.heard_ms IS NOT NULL AND p_at - w.heard_ms < 86400000 AND NOT w.is_closed THEN
        v_kept := greatest(0, w.credit);
    END IF;
    w.heard_ms := p_at;
    w.sent := 0;
    w.is_closed := false;
    w.credit := least(v_kept + p_messages * w.allowance, 1000000);
    w.probe_ms := 0;
    w.refusals := 0;
    RETURN w;
END $$;

CREATE FUNCTION window_accepted(w windows) RETURNS windows LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF w.is_closed THEN
        w.is_closed := false;
        w.allowance := 10;
        w.credit := 10 - w.sent;
    END IF;
    w.sent := w.sent + 1;
    w.credit := w.credit - 1;
    IF w.is_strict THEN
        w.allowance := greatest(w.allowance, w.sent);
    END IF;
    w.pauses := 0;
    w.paused_until_ms := 0;
    w.probe_ms := 0;
    w.refusals := 0;
    RETURN w;
END $$;

CREATE FUNCTION window_refused(w windows, p_at bigint) RETURNS windows LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_is_within boolean := w.heard_ms IS NOT NULL AND p_at - w.heard_ms < 86400000;
    v_probes    boolean;
BEGIN
    IF w.is_closed THEN
        v_probes := w.probe_ms > 0 AND w.probe_ms <= p_at;
    ELSE
        v_probes := v_is_within AND w.sent < 10;
        IF v_is_within AND w.sent > 0 THEN
            w.is_strict := true;
            w.allowance := least(w.allowance, w.sent);
        END IF;
        w.is_closed := true;
        w.credit := 0;
    END IF;
    IF v_probes THEN
        w.probe_ms := p_at + least(1800000::bigint << least(w.refusals, 10)::integer, 21600000);
        w.refusals := w.refusals + 1;
    END IF;
    RETURN w;
END $$;

CREATE FUNCTION window_limited(w windows, p_at bigint, p_retry_after bigint) RETURNS windows LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    w.paused_until_ms := p_at + greatest(
        least(30000::bigint << least(w.pauses, 10)::integer, 3600000), coalesce(p_retry_after, 0));
    w.pauses := w.pauses + 1;
    RETURN w;
END $$;

-- Events in their order: 1 accepted, 2 refused, 3 too many calls.
CREATE FUNCTION window_after(w windows, p_events smallint[], p_ats bigint[], p_retries bigint[])
RETURNS windows LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    FOR i IN 1..cardinality(p_events) LOOP
        IF p_events[i] = 1 THEN
            w := window_accepted(w);
        ELSIF p_events[i] = 2 THEN
            w := window_refused(w, p_ats[i]);
        ELSE
            w := window_limited(w, p_ats[i], p_retries[i]);
        END IF;
    END LOOP;
    RETURN w;
END $$;

CREATE FUNCTION adopt_journal(p_account text, p_adopter uuid, OUT epoch bigint, OUT was_open boolean, OUT newest bigint)
LANGUAGE plpgsql AS $$
DECLARE
    j journals;
BEGIN
    PERFORM lock_journal(p_account);
    SELECT * INTO j FROM journals WHERE account_id = p_account;
    FOR d IN today()..today() + 1 LOOP
        PERFORM make_inbox_day(d);
    END LOOP;
    IF j.adopter IS DISTINCT FROM p_adopter THEN
        UPDATE journals SET epoch = j.epoch + 1, is_open = true, adopter = p_adopter, was_open = j.is_open, clock_gap_ms = 0
        WHERE account_id = p_account;
        PERFORM move_times(p_account, j.clock_gap_ms) WHERE j.clock_gap_ms <> 0;
        IF j.is_open THEN
            PERFORM count_interrupted(p_account);
        END IF;
    END IF;
    SELECT n.epoch, n.was_open INTO epoch, was_open FROM journals n WHERE account_id = p_account;
    SELECT coalesce(max(seq), 0) INTO newest FROM inbox WHERE account_id = p_account;
END $$;

-- Anything that was first in its conversation may have been running when the last process died. The second time only
-- what was written down as running counts, so that one poisonous update does not take the innocent with it.
CREATE FUNCTION count_interrupted(p_account text) RETURNS void LANGUAGE sql AS $$
    UPDATE inbox SET interrupted = interrupted + 1, is_running = false
    WHERE account_id = p_account AND seq IN
        (SELECT min(seq) FROM inbox WHERE account_id = p_account AND state = 0 GROUP BY conversation)
      AND (interrupted = 0 OR is_running);
    UPDATE outbox SET is_doubtful = true
    WHERE account_id = p_account AND out_seq IN
        (SELECT min(out_seq) FROM outbox WHERE account_id = p_account AND state IN (0, 6, 7) GROUP BY conversation)
$$;

-- Moves the times of what waits to those of a clock that was set; nothing expires earlier than it was to.
CREATE FUNCTION move_times(p_account text, p_gap_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inbox SET due_ms = due_ms + p_gap_ms WHERE account_id = p_account AND state = 0 AND due_ms > 0;
    UPDATE windows SET heard_ms = heard_ms + p_gap_ms, paused_until_ms = paused_until_ms + p_gap_ms
    WHERE account_id = p_account;
    IF p_gap_ms > 0 THEN
        UPDATE outbox SET expires_ms = expires_ms + p_gap_ms, finished_ms = finished_ms + p_gap_ms
        WHERE account_id = p_account;
        UPDATE inbox SET received_ms = received_ms + p_gap_ms WHERE account_id = p_account;
    END IF;
END $$;

-- Stores what a poll brought: all of it, whoever brings it. The cursor moves only for the owner of the newest login.
-- `p_after` is the newest update that the process knows; what others stored between that and this waits elsewhere.
CREATE FUNCTION ingest(
    p_account text, p_epoch bigint, p_generation bigint, p_cursor text, p_hint_ms bigint, p_now_ms bigint, p_after bigint,
    p_raw bytea[], p_identity text[], p_conversation text[], p_user text[], p_token text[],
    p_state smallint[], p_error text[], p_opens boolean[], p_resembles text[],
    OUT sequences bigint[], OUT outdated boolean[], OUT has_moved boolean, OUT newest bigint, OUT others text[])
LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint := lock_journal(p_account);
    v_day   integer := p_now_ms / 86400000;
    v_known boolean[];
    v_first bigint;
    v_fresh integer := 0;
    v_count integer := cardinality(p_identity);
BEGIN
    sequences := array_fill(NULL::bigint, ARRAY[v_count]);
    IF v_count > 0 THEN
        PERFORM make_inbox_day(v_day);
        SELECT array_agg(i.seq IS NOT NULL ORDER BY a.n),
               array_agg(coalesce(i.token_hash = hashtextextended(a.token, 0), false) ORDER BY a.n)
        INTO v_known, outdated
        FROM unnest(p_identity, p_token) WITH ORDINALITY AS a (identity, token, n)
        LEFT JOIN LATERAL (
            SELECT seq, token_hash FROM inbox WHERE account_id = p_account AND identity = a.identity LIMIT 1) i ON true;
        FOR n IN 1..v_count LOOP
            IF NOT v_known[n] AND array_position(p_identity, p_identity[n]) = n THEN
                newest := nextval('inbox_seq');
                v_first := coalesce(v_first, newest);
                v_fresh := v_fresh + 1;
                sequences[n] := newest;
            END IF;
        END LOOP;
    END IF;
    IF v_fresh > 0 THEN
        INSERT INTO inbox (day, account_id, seq, conversation, user_id, identity, state, received_ms, finished_ms,
                           token_hash, error, resembles, raw)
        SELECT v_day, p_account, a.seq, a.conversation, a.user_id, a.identity, a.state, p_now_ms,
               CASE WHEN a.state <> 0 THEN p_now_ms END, hashtextextended(a.token, 0), a.error, a.resembles, a.raw
        FROM unnest(sequences, p_conversation, p_user, p_identity, p_state, p_token, p_error, p_resembles, p_raw)
             AS a (seq, conversation, user_id, identity, state, token, error, resembles, raw)
        WHERE a.seq IS NOT NULL;
        INSERT INTO windows
        SELECT x.* FROM (
            SELECT a.user_id, count(*) AS messages
            FROM unnest(sequences, p_user, p_opens) AS a (seq, user_id, opens)
            WHERE a.seq IS NOT NULL AND a.opens AND a.user_id <> '' GROUP BY a.user_id) h
        LEFT JOIN windows w ON w.account_id = p_account AND w.user_id = h.user_id,
        LATERAL window_heard(
            CASE WHEN w.account_id IS NULL THEN new_window(p_account, h.user_id) ELSE w END, p_now_ms, h.messages) x
        ON CONFLICT (account_id, user_id) DO UPDATE SET
            heard_ms = excluded.heard_ms, sent = excluded.sent, credit = excluded.credit, allowance = excluded.allowance,
            is_closed = excluded.is_closed, probe_ms = excluded.probe_ms, refusals = excluded.refusals;
    ELSE
        SELECT coalesce(max(seq), 0) INTO newest FROM inbox WHERE account_id = p_account;
    END IF;
    INSERT INTO peers (account_id, user_id, context_token, updated_at_ms)
    SELECT DISTINCT ON (a.user_id) p_account, a.user_id, a.token, p_now_ms
    FROM unnest(p_user, p_token, outdated) WITH ORDINALITY AS a (user_id, token, is_outdated, n)
    WHERE a.user_id <> '' AND a.token <> '' AND NOT a.is_outdated ORDER BY a.user_id, a.n DESC
    ON CONFLICT (account_id, user_id) DO UPDATE SET
        context_token = excluded.context_token, updated_at_ms = excluded.updated_at_ms;
    UPDATE journals SET
        duplicates = duplicates + v_count - v_fresh,
        suspects = suspects + s.handled, suspects_dropped = suspects_dropped + s.dropped
    FROM (SELECT count(*) FILTER (WHERE a.state <> 3) AS handled, count(*) FILTER (WHERE a.state = 3) AS dropped
          FROM unnest(sequences, p_resembles, p_state) AS a (seq, resembles, state)
          WHERE a.seq IS NOT NULL AND a.resembles IS NOT NULL) s
    WHERE account_id = p_account AND (v_fresh < v_count OR s.handled + s.dropped > 0);
    SELECT array_agg(DISTINCT i.conversation) INTO others FROM inbox i
    WHERE i.account_id = p_account AND i.seq > p_after AND i.seq < coalesce(v_first, newest + 1) AND i.state = 0;
    -- A login that is stored at the same time raises the generation of both rows; the older one must not win here.
    INSERT INTO positions AS p (account_id, generation, cursor, hint_ms)
    SELECT account_id, generation, p_cursor, p_hint_ms FROM accounts
    WHERE account_id = p_account AND generation = p_generation AND v_epoch = p_epoch AND p_epoch > 0
    ON CONFLICT (account_id) DO UPDATE SET
        generation = excluded.generation, cursor = excluded.cursor, hint_ms = excluded.hint_ms
    WHERE p.generation <= excluded.generation;
    has_moved := FOUND;
END $$;

-- Puts an update of our own into the inbox; NULL when it was there before.
CREATE FUNCTION post_update(
    p_account text, p_conversation text, p_user text, p_identity text, p_raw bytea, p_now_ms bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
BEGIN
    PERFORM lock_journal(p_account);
    IF EXISTS (SELECT FROM inbox WHERE account_id = p_account AND identity = p_identity) THEN
        RETURN NULL;
    END IF;
    PERFORM make_inbox_day((p_now_ms / 86400000)::integer);
    INSERT INTO inbox (day, account_id, seq, conversation, user_id, identity, state, received_ms, raw)
    VALUES (p_now_ms / 86400000, p_account, nextval('inbox_seq'), p_conversation, p_user, p_identity, 0, p_now_ms, p_raw)
    RETURNING seq INTO v_seq;
    RETURN v_seq;
END $$;

-- Stores a group of what was asked for meanwhile, in this order: completions (c) with their runs (r) and messages (d),
-- more messages (those of place 0), outcomes of sends (s). A completion takes effect when all its runs may finish their
-- updates. A group is named: one whose answer was lost is answered again, and not stored twice.
CREATE FUNCTION store_group(
    p_account text, p_epoch bigint, p_group uuid,
    r_place integer[], r_seq bigint[], r_claim bigint[],
    c_now bigint[], c_state bytea[], c_due bigint[], c_expires bigint[], c_ignored text[],
    d_place integer[], d_now bigint[], d_client text[], d_conversation text[], d_user text[], d_item bytea[],
    d_file text[], d_cause bigint[], d_progress boolean[], d_run text[], d_expires bigint[],
    s_out bigint[], s_user text[], s_state smallint[], s_event smallint[], s_now bigint[], s_retry bigint[],
    s_tried boolean[], s_doubtful boolean[], s_message text[], s_code bigint[], s_reason text[],
    OUT taken boolean[], OUT out_sequences bigint[], OUT is_owner boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint := lock_journal(p_account);
    v_base  bigint;
BEGIN
    is_owner := v_epoch = p_epoch AND p_epoch > 0;
    IF is_owner AND EXISTS (SELECT FROM journals WHERE account_id = p_account AND last_group = p_group) THEN
        SELECT last_taken, last_out_seq INTO taken, v_base FROM journals WHERE account_id = p_account;
        SELECT coalesce(array_agg(CASE WHEN d.is_first THEN o.out_seq END ORDER BY d.n), '{}') INTO out_sequences
        FROM (SELECT client_id, n, place = 0 OR taken[place] AS counts,
                     row_number() OVER (PARTITION BY client_id, place = 0 OR taken[place] ORDER BY n) = 1 AS is_first
              FROM unnest(d_place, d_client) WITH ORDINALITY AS x (place, client_id, n)) d
        LEFT JOIN outbox o ON d.counts AND o.account_id = p_account AND o.client_id = d.client_id AND o.out_seq > v_base;
        RETURN;
    END IF;
    taken := '{}';
    out_sequences := '{}';
    IF cardinality(r_seq) > 0 THEN
        taken := finish_updates(p_account, is_owner, r_place, r_seq, r_claim, c_now, c_ignored);
        PERFORM store_states(p_account, taken, r_place, r_seq, c_state, c_due, c_expires)
        WHERE EXISTS (SELECT FROM unnest(c_state) AS s (state) WHERE s.state IS NOT NULL);
    END IF;
    IF is_owner THEN
        UPDATE journals SET last_group = p_group, last_taken = taken, last_out_seq =
            (SELECT coalesce(max(out_seq), 0) FROM outbox WHERE account_id = p_account)
        WHERE account_id = p_account;
    END IF;
    IF cardinality(d_client) > 0 THEN
        out_sequences := store_messages(
            p_account, taken, d_place, d_now, d_client, d_conversation, d_user, d_item, d_file, d_cause, d_progress,
            d_run, d_expires);
        IF NOT is_owner THEN
            UPDATE journals SET calls = calls + 1 WHERE account_id = p_account;
        END IF;
    END IF;
    IF cardinality(s_out) > 0 THEN
        PERFORM settle_messages(
            p_account, is_owner, s_out, s_user, s_state, s_event, s_now, s_retry, s_tried, s_doubtful, s_message, s_code,
            s_reason);
    END IF;
END $$;

CREATE FUNCTION finish_updates(
    p_account text, p_is_owner boolean, r_place integer[], r_seq bigint[], r_claim bigint[], c_now bigint[],
    c_ignored text[])
RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    v_taken boolean[] := array_fill(p_is_owner, ARRAY[cardinality(c_now)]);
    v_may   boolean[];
    v_used  bigint[] := '{}';
    v_from  integer := 1;
BEGIN
    IF NOT p_is_owner THEN
        RETURN v_taken;
    END IF;
    SELECT array_agg(i.seq IS NOT NULL ORDER BY r.n) INTO v_may
    FROM unnest(r_seq, r_claim) WITH ORDINALITY AS r (seq, claim, n)
    LEFT JOIN inbox i ON i.account_id = p_account AND i.seq = r.seq AND i.claim = r.claim
                     AND i.state + 0 = 0 AND NOT i.is_parked;
    FOR n IN 1..cardinality(r_seq) LOOP
        IF NOT v_may[n] OR r_seq[n] = ANY (v_used) THEN
            v_taken[r_place[n]] := false;
        END IF;
        IF r_place[n] IS DISTINCT FROM r_place[n + 1] THEN
            IF v_taken[r_place[n]] THEN
                v_used := v_used || r_seq[v_from:n];
            END IF;
            v_from := n + 1;
        END IF;
    END LOOP;
    UPDATE inbox i SET state = CASE WHEN c_ignored[r.place] IS NULL THEN 1 ELSE 3 END, is_running = false,
                       finished_ms = c_now[r.place], error = coalesce(c_ignored[r.place], i.error)
    FROM unnest(r_place, r_seq) AS r (place, seq)
    WHERE v_taken[r.place] AND i.account_id = p_account AND i.seq = r.seq;
    RETURN v_taken;
END $$;

-- Of several new states of one conversation the last one stays.
CREATE FUNCTION store_states(
    p_account text, p_taken boolean[], r_place integer[], r_seq bigint[], c_state bytea[], c_due bigint[],
    c_expires bigint[])
RETURNS void LANGUAGE sql AS $$
    WITH newest AS (
        SELECT DISTINCT ON (i.conversation) i.conversation, c.state, c.due_ms, c.expires_ms
        FROM unnest(p_taken, c_state, c_due, c_expires) WITH ORDINALITY AS c (is_taken, state, due_ms, expires_ms, n)
        JOIN inbox i ON i.account_id = p_account AND i.seq = r_seq[array_position(r_place, c.n::integer)]
        WHERE c.is_taken AND c.state IS NOT NULL ORDER BY i.conversation, c.n DESC),
    forgotten AS (
        DELETE FROM conversations c USING newest
        WHERE c.account_id = p_account AND c.conversation = newest.conversation AND newest.state = '')
    INSERT INTO conversations (account_id, conversation, state, due_ms, expires_ms)
    SELECT p_account, conversation, state, due_ms, expires_ms FROM newest WHERE state <> ''
    ON CONFLICT (account_id, conversation) DO UPDATE SET
        state = excluded.state, due_ms = excluded.due_ms, expires_ms = excluded.expires_ms
$$;

-- Stores the messages whose names are new, the first of each, and returns their places.
CREATE FUNCTION store_messages(
    p_account text, p_taken boolean[], d_place integer[], d_now bigint[], d_client text[], d_conversation text[],
    d_user text[], d_item bytea[], d_file text[], d_cause bigint[], d_progress boolean[], d_run text[], d_expires bigint[])
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    v_names     text[];
    v_sequences bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(d_client)]);
BEGIN
    SELECT array_agg(CASE WHEN o.out_seq IS NULL AND (d.place = 0 OR p_taken[d.place]) THEN d.client_id END ORDER BY d.n)
    INTO v_names
    FROM unnest(d_place, d_client) WITH ORDINALITY AS d (place, client_id, n)
    LEFT JOIN outbox o ON o.account_id = p_account AND o.client_id = d.client_id;
    FOR n IN 1..cardinality(d_client) LOOP
        IF v_names[n] IS NOT NULL AND array_position(v_names, v_names[n]) = n THEN
            v_sequences[n] := nextval('outbox_seq');
        END IF;
    END LOOP;
    INSERT INTO outbox (account_id, out_seq, conversation, user_id, client_id, cause_seq, is_progress, item, file, run_id,
                        created_ms, expires_ms)
    SELECT p_account, d.out_seq, d.conversation, d.user_id, d.client_id, d.cause_seq, d.is_progress, d.item, d.file,
           d.run_id, d.created_ms, d.expires_ms
    FROM unnest(v_sequences, d_conversation, d_user, d_client, d_cause, d_progress, d_item, d_file, d_run, d_now, d_expires)
         AS d (out_seq, conversation, user_id, client_id, cause_seq, is_progress, item, file, run_id, created_ms, expires_ms)
    WHERE d.out_seq IS NOT NULL;
    RETURN v_sequences;
END $$;

-- Stores outcomes; one of a message that is finished already changes nothing of it. From somebody who does not own the
-- journal only last words are taken: that a message was accepted stays true, but what happens to one that waits is not
-- theirs to say. Such a message may belong to another account of the person by now.
CREATE FUNCTION settle_messages(
    p_account text, p_is_owner boolean, s_out bigint[], s_user text[], s_state smallint[], s_event smallint[],
    s_now bigint[], s_retry bigint[], s_tried boolean[], s_doubtful boolean[], s_message text[], s_code bigint[],
    s_reason text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_final  boolean[];
    v_stored bigint[];
BEGIN
    SELECT array_agg(s.state NOT IN (0, 6, 7) ORDER BY s.n) INTO v_final FROM unnest(s_state) WITH ORDINALITY AS s (state, n);
    WITH outcome AS MATERIALIZED (
        SELECT DISTINCT ON (s.out_seq) s.* FROM unnest(s_out, s_state, s_now, s_tried, s_doubtful, s_message, s_code,
            s_reason, v_final) WITH ORDINALITY
            AS s (out_seq, state, now_ms, tried, doubtful, message_id, code, reason, is_final, n)
        WHERE p_is_owner OR s.is_final ORDER BY s.out_seq, s.n DESC),
    stored AS (
        UPDATE outbox o SET
            state = s.state, attempts = o.attempts + s.tried::integer, is_doubtful = o.is_doubtful OR s.doubtful,
            message_id = s.message_id, code = s.code, reason = s.reason,
            finished_ms = CASE WHEN s.is_final THEN s.now_ms END
        FROM outcome s WHERE o.account_id = p_account AND o.out_seq = s.out_seq AND o.state + 0 IN (0, 6, 7)
        RETURNING o.out_seq)
    SELECT array_agg(out_seq) INTO v_stored FROM stored;
    UPDATE outbox o SET
        state = s.state, attempts = o.attempts + s.tried::integer, is_doubtful = o.is_doubtful OR s.doubtful,
        message_id = s.message_id, code = s.code, reason = s.reason, finished_ms = s.now_ms
    FROM unnest(s_out, s_state, s_now, s_tried, s_doubtful, s_message, s_code, s_reason, v_final)
         AS s (out_seq, state, now_ms, tried, doubtful, message_id, code, reason, is_final)
    WHERE NOT s_out <@ coalesce(v_stored, '{}') AND s.is_final AND o.out_seq = s.out_seq AND o.account_id <> p_account
      AND o.state IN (0, 6, 7);
    INSERT INTO windows
    SELECT x.* FROM (
        SELECT s.user_id, array_agg(s.event ORDER BY s.n) AS events, array_agg(s.now_ms ORDER BY s.n) AS ats,
               array_agg(s.retry_after ORDER BY s.n) AS retries
        FROM unnest(s_user, s_event, s_now, s_retry, v_final) WITH ORDINALITY
             AS s (user_id, event, now_ms, retry_after, is_final, n)
        WHERE s.event <> 0 AND (p_is_owner OR s.is_final) GROUP BY s.user_id) e
    LEFT JOIN windows w ON w.account_id = p_account AND w.user_id = e.user_id,
    LATERAL window_after(
        CASE WHEN w.account_id IS NULL THEN new_window(p_account, e.user_id) ELSE w END, e.events, e.ats, e.retries) x
    ON CONFLICT (account_id, user_id) DO UPDATE SET
        sent = excluded.sent, credit = excluded.credit, allowance = excluded.allowance, is_strict = excluded.is_strict,
        is_closed = excluded.is_closed, paused_until_ms = excluded.paused_until_ms, pauses = excluded.pauses,
        probe_ms = excluded.probe_ms, refusals = excluded.refusals;
END $$;

-- Stores that a run failed. With `p_again` the answer to the same call was lost: what it stored is told again.
CREATE FUNCTION fail_update(
    p_account text, p_epoch bigint, p_seq bigint, p_claim bigint, p_error text, p_due bigint, p_now bigint,
    p_other_seq bigint[], p_other_claim bigint[], p_is_parked boolean, p_again boolean)
RETURNS SETOF inbox LANGUAGE plpgsql AS $$
DECLARE
    v_is_dead boolean := p_due IS NULL AND NOT p_is_parked;
BEGIN
    IF p_epoch = 0 OR lock_journal(p_account) <> p_epoch THEN
        RETURN;
    END IF;
    UPDATE inbox i SET attempts = i.attempts + 1, claim = i.claim + 1, is_running = false, error = p_error,
                       due_ms = coalesce(p_due, 0), state = CASE WHEN v_is_dead THEN 2 ELSE 0 END,
                       finished_ms = CASE WHEN v_is_dead THEN p_now END, is_parked = p_is_parked
    WHERE i.account_id = p_account AND i.seq = p_seq AND i.claim = p_claim AND i.state = 0 AND NOT i.is_parked;
    IF FOUND AND v_is_dead THEN
        UPDATE inbox i SET attempts = i.attempts + 1, claim = i.claim + 1, is_running = false, error = p_error,
                           due_ms = 0, state = 2, finished_ms = p_now
        FROM unnest(p_other_seq, p_other_claim) AS o (seq, claim)
        WHERE i.account_id = p_account AND i.seq = o.seq AND i.claim = o.claim AND i.state = 0 AND NOT i.is_parked;
        FOUND := true;
    ELSIF NOT FOUND AND NOT p_again THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM inbox WHERE account_id = p_account AND seq = p_seq AND claim = p_claim + 1;
END $$;

CREATE FUNCTION replay_updates(p_account text, p_sequences bigint[]) RETURNS TABLE (conversation text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_journal(p_account);
    RETURN QUERY
    WITH woken AS (
        UPDATE inbox i SET state = 0, is_parked = false, attempts = 0, interrupted = 0, claim = i.claim + 1, due_ms = 0,
                           finished_ms = NULL
        WHERE i.account_id = p_account AND i.seq = ANY (p_sequences) AND (i.state = 2 OR i.is_parked)
        RETURNING i.conversation)
    SELECT DISTINCT w.conversation FROM woken w ORDER BY 1;
END $$;

CREATE FUNCTION drop_updates(p_account text, p_sequences bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM lock_journal(p_account);
    UPDATE inbox SET state = 3, is_parked = false
    WHERE account_id = p_account AND seq = ANY (p_sequences) AND (state = 2 OR is_parked);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Decides about a message that asked, whoever does; its owner is to notice. NULL reason: it is sent again.
CREATE FUNCTION decide_message(p_account text, p_epoch bigint, p_client text, p_now bigint, p_reason text)
RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint := lock_journal(p_account);
BEGIN
    RETURN QUERY
    UPDATE outbox SET state = CASE WHEN p_reason IS NULL THEN 0 ELSE 4 END, is_doubtful = true, reason = p_reason,
                      finished_ms = CASE WHEN p_reason IS NOT NULL THEN p_now END
    WHERE account_id = p_account AND client_id = p_client AND state = 7 RETURNING *;
    IF FOUND AND v_epoch <> p_epoch THEN
        UPDATE journals SET calls = calls + 1 WHERE account_id = p_account;
    END IF;
END $$;

-- Takes over what waits in the journal of another account of the same person. Both are locked in the order of their names.
CREATE FUNCTION inherit_journal(p_account text, p_previous text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_journal(least(p_account COLLATE "C", p_previous COLLATE "C"));
    PERFORM lock_journal(greatest(p_account COLLATE "C", p_previous COLLATE "C"));
    UPDATE inbox i SET account_id = p_account
    WHERE i.account_id = p_previous AND i.state IN (0, 2)
      AND NOT EXISTS (SELECT FROM inbox o WHERE o.account_id = p_account AND o.identity = i.identity);
    UPDATE outbox i SET account_id = p_account
    WHERE i.account_id = p_previous AND i.state IN (0, 6, 7)
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.account_id = p_account AND o.client_id = i.client_id);
    UPDATE conversations i SET account_id = p_account
    WHERE i.account_id = p_previous AND NOT EXISTS
        (SELECT FROM conversations o WHERE o.account_id = p_account AND o.conversation = i.conversation);
    UPDATE jobs i SET account_id = p_account
    WHERE i.account_id = p_previous
      AND NOT EXISTS (SELECT FROM jobs o WHERE o.account_id = p_account AND o.name = i.name);
    UPDATE results i SET account_id = p_account
    WHERE i.account_id = p_previous AND NOT EXISTS
        (SELECT FROM results o WHERE o.account_id = p_account AND o.cause = i.cause AND o.name = i.name);
END $$;

-- Forgets what was finished before a moment; the days that nobody needs any more are dropped by `keep_inbox_days`.
CREATE FUNCTION prune_journal(p_account text, p_before_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_updates  bigint;
    v_messages bigint;
BEGIN
    DELETE FROM inbox WHERE account_id = p_account AND day <= p_before_ms / 86400000 AND state IN (1, 3)
        AND received_ms < p_before_ms;
    GET DIAGNOSTICS v_updates = ROW_COUNT;
    DELETE FROM outbox WHERE account_id = p_account AND finished_ms < p_before_ms;
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    UPDATE journals SET forget_ms = p_before_ms, kept_at = clock_timestamp() WHERE account_id = p_account;
    RETURN v_updates + v_messages;
END $$;

-- Conversations with something that waits, in the order of their names: jumps from name to name in the index, instead of
-- reading every row of long queues.
CREATE FUNCTION waiting_conversations(p_account text, p_after text, p_limit integer) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE names (name) AS (
        SELECT min(conversation) FROM inbox WHERE account_id = p_account AND state = 0 AND conversation > p_after
        UNION ALL
        SELECT (SELECT min(conversation) FROM inbox WHERE account_id = p_account AND state = 0 AND conversation > name)
        FROM names WHERE name IS NOT NULL)
    SELECT name FROM names WHERE name IS NOT NULL LIMIT p_limit
$$;

CREATE FUNCTION outgoing_conversations(p_account text, p_after text, p_limit integer) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE names (name) AS (
        SELECT min(conversation) FROM outbox
        WHERE account_id = p_account AND state IN (0, 6, 7) AND conversation > p_after
        UNION ALL
        SELECT (SELECT min(conversation) FROM outbox
                WHERE account_id = p_account AND state IN (0, 6, 7) AND conversation > name)
        FROM names WHERE name IS NOT NULL)
    SELECT name FROM names WHERE name IS NOT NULL LIMIT p_limit
$$;
