-- Processes that only poll, only handle or only send. Each of them takes an account's journal over for what it does, and
-- is fenced there alone: the poller moves the cursor, the handler completes, the sender settles. An adoption has a number
-- of its own among all of the account, and the row says which one has each role; a process that does everything has all.
ALTER TABLE journals ADD COLUMN poller bigint NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN handler bigint NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN sender bigint NOT NULL DEFAULT 0;
ALTER TABLE journals ADD COLUMN is_sending boolean NOT NULL DEFAULT false;  -- like is_open, which is the handler's
ALTER TABLE journals ADD COLUMN adopters uuid[] NOT NULL DEFAULT '{}';      -- the last ones of poller, handler and sender
ALTER TABLE journals ADD COLUMN last_settled uuid;                          -- like last_group, of a sender that does not handle
UPDATE journals SET poller = epoch, handler = epoch, sender = epoch, is_sending = is_open;

CREATE FUNCTION has_role(p_roles text, p_role text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN p_roles = p_role OR p_roles = 'all';

-- Locks the row like `lock_journal`, and returns which adoption has a role.
CREATE FUNCTION lock_role(p_account text, p_role text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_owner bigint;
BEGIN
    SELECT CASE p_role WHEN 'poller' THEN poller WHEN 'handler' THEN handler ELSE sender END INTO v_owner
    FROM journals WHERE account_id = p_account FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM lock_journal(p_account);
        RETURN 0;
    END IF;
    RETURN v_owner;
END $$;

DROP FUNCTION adopt_journal(text, uuid);
DROP FUNCTION count_interrupted(text);

CREATE FUNCTION adopt_journal(
    p_account text, p_adopter uuid, p_roles text, OUT epoch bigint, OUT was_open boolean, OUT newest bigint)
LANGUAGE plpgsql AS $$
DECLARE
    j         journals;
    v_handles boolean := has_role(p_roles, 'handler');
    v_sends   boolean := has_role(p_roles, 'sender');
BEGIN
    PERFORM lock_journal(p_account);
    SELECT * INTO j FROM journals WHERE account_id = p_account;
    FOR d IN today()..today() + 1 LOOP
        PERFORM make_inbox_day(d);
    END LOOP;
    IF (p_adopter = ANY (j.adopters)) IS NOT TRUE THEN  -- one that has not been there yet is NULL
        UPDATE journals SET
            epoch = j.epoch + 1, was_open = v_handles AND j.is_open OR v_sends AND j.is_sending,
            poller = CASE WHEN has_role(p_roles, 'poller') THEN j.epoch + 1 ELSE j.poller END,
            handler = CASE WHEN v_handles THEN j.epoch + 1 ELSE j.handler END,
            sender = CASE WHEN v_sends THEN j.epoch + 1 ELSE j.sender END,
            is_open = v_handles OR j.is_open, is_sending = v_sends OR j.is_sending,
            adopters = ARRAY[
                CASE WHEN has_role(p_roles, 'poller') THEN p_adopter ELSE j.adopters[1] END,
                CASE WHEN v_handles THEN p_adopter ELSE j.adopters[2] END,
                CASE WHEN v_sends THEN p_adopter ELSE j.adopters[3] END],
            clock_gap_ms = CASE WHEN v_handles THEN 0 ELSE j.clock_gap_ms END
        WHERE account_id = p_account;
        PERFORM move_times(p_account, j.clock_gap_ms) WHERE v_handles AND j.clock_gap_ms <> 0;
        PERFORM count_interrupted(p_account) WHERE v_handles AND j.is_open;
        PERFORM doubt_first(p_account) WHERE v_sends AND j.is_sending;
    END IF;
    -- The number of this adoption: a later one of another role does not change it.
    SELECT CASE p_roles WHEN 'poller' THEN n.poller WHEN 'sender' THEN n.sender ELSE n.handler END, n.was_open
    INTO epoch, was_open FROM journals n WHERE account_id = p_account;
    SELECT coalesce(max(seq), 0) INTO newest FROM inbox WHERE account_id = p_account;
END $$;

-- Anything that was first in its conversation may have been running when the last handler died. The second time only
-- what was written down as running counts, so that one poisonous update does not take the innocent with it.
CREATE FUNCTION count_interrupted(p_account text) RETURNS void LANGUAGE sql AS $$
    UPDATE inbox SET interrupted = interrupted + 1, is_running = false
    WHERE account_id = p_account AND seq IN
        (SELECT min(seq) FROM inbox WHERE account_id = p_account AND state = 0 GROUP BY conversation)
      AND (interrupted = 0 OR is_running);
$$;

-- Anything that was first in its conversation may have been on its way when the last sender died.
CREATE FUNCTION doubt_first(p_account text) RETURNS void LANGUAGE sql AS $$
    UPDATE outbox SET is_doubtful = true
    WHERE account_id = p_account AND out_seq IN
        (SELECT min(out_seq) FROM outbox WHERE account_id = p_account AND state IN (0, 6, 7) GROUP BY conversation)
$$;

-- As before; and who handles or sends elsewhere is told.
CREATE OR REPLACE FUNCTION ingest(
    p_account text, p_epoch bigint, p_generation bigint, p_cursor text, p_hint_ms bigint, p_now_ms bigint, p_after bigint,
    p_raw bytea[], p_identity text[], p_conversation text[], p_user text[], p_token text[],
    p_state smallint[], p_error text[], p_opens boolean[], p_resembles text[],
    OUT sequences bigint[], OUT outdated boolean[], OUT has_moved boolean, OUT newest bigint, OUT others text[])
LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint := lock_role(p_account, 'poller');
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
    UPDATE journals SET calls = calls + 1
    WHERE account_id = p_account AND v_count > 0 AND (handler <> p_epoch OR sender <> p_epoch);
    SELECT array_agg(DISTINCT i.conversation) INTO others FROM inbox i
    WHERE i.account_id = p_account AND i.seq > p_after AND i.seq < coalesce(v_first, newest + 1) AND i.state + 0 = 0;
    -- A login that is stored at the same time raises the generation of both rows; the older one must not win here.
    INSERT INTO positions AS p (account_id, generation, cursor, hint_ms)
    SELECT account_id, generation, p_cursor, p_hint_ms FROM accounts
    WHERE account_id = p_account AND generation = p_generation AND v_epoch = p_epoch AND p_epoch > 0
    ON CONFLICT (account_id) DO UPDATE SET
        generation = excluded.generation, cursor = excluded.cursor, hint_ms = excluded.hint_ms
    WHERE p.generation <= excluded.generation;
    has_moved := FOUND;
END $$;

-- Completions are the handler's, and what becomes of messages that wait is the sender's to say.
CREATE OR REPLACE FUNCTION store_group(
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
    v_epoch     bigint := lock_role(p_account, 'handler');
    v_is_sender boolean;
    v_settled   uuid;
    v_base      bigint;
BEGIN
    is_owner := v_epoch = p_epoch AND p_epoch > 0;
    SELECT sender = p_epoch AND p_epoch > 0, last_settled INTO v_is_sender, v_settled
    FROM journals WHERE account_id = p_account;
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
    IF v_is_sender AND NOT is_owner AND v_settled = p_group THEN
        out_sequences := array_fill(NULL::bigint, ARRAY[cardinality(d_client)]);
        RETURN;
    END IF;
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
    END IF;
    IF cardinality(s_out) > 0 THEN
        PERFORM settle_messages(
            p_account, v_is_sender, s_out, s_user, s_state, s_event, s_now, s_retry, s_tried, s_doubtful, s_message, s_code,
            s_reason);
    END IF;
    IF NOT (is_owner AND v_is_sender) AND cardinality(d_client) + cardinality(s_out) > 0 THEN
        UPDATE journals SET calls = calls + 1, last_settled = CASE WHEN v_is_sender THEN p_group ELSE last_settled END
        WHERE account_id = p_account;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION fail_update(
    p_account text, p_epoch bigint, p_seq bigint, p_claim bigint, p_error text, p_due bigint, p_now bigint,
    p_other_seq bigint[], p_other_claim bigint[], p_is_parked boolean, p_again boolean)
RETURNS SETOF inbox LANGUAGE plpgsql AS $$
DECLARE
    v_is_dead boolean := p_due IS NULL AND NOT p_is_parked;
BEGIN
    IF p_epoch = 0 OR lock_role(p_account, 'handler') <> p_epoch THEN
        RETURN;
    END IF;
    UPDATE inbox i SET attempts = i.attempts + 1, claim = i.claim + 1, is_running = false, error = p_error,
                       due_ms = coalesce(p_due, 0), state = CASE WHEN v_is_dead THEN 2 ELSE 0 END,
                       finished_ms = CASE WHEN v_is_dead THEN p_now END, is_parked = p_is_parked
    WHERE i.account_id = p_account AND i.seq = p_seq AND i.claim = p_claim AND i.state + 0 = 0 AND NOT i.is_parked;
    IF FOUND AND v_is_dead THEN
        UPDATE inbox i SET attempts = i.attempts + 1, claim = i.claim + 1, is_running = false, error = p_error,
                           due_ms = 0, state = 2, finished_ms = p_now
        FROM unnest(p_other_seq, p_other_claim) AS o (seq, claim)
        WHERE i.account_id = p_account AND i.seq = o.seq AND i.claim = o.claim AND i.state + 0 = 0 AND NOT i.is_parked;
        FOUND := true;
    ELSIF NOT FOUND AND NOT p_again THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM inbox WHERE account_id = p_account AND seq = p_seq AND claim = p_claim + 1;
END $$;

CREATE OR REPLACE FUNCTION decide_message(p_account text, p_epoch bigint, p_client text, p_now bigint, p_reason text)
RETURNS SETOF outbox LANGUAGE plpgsql AS $$
DECLARE
    v_epoch bigint := lock_role(p_account, 'sender');
BEGIN
    RETURN QUERY
    UPDATE outbox SET state = CASE WHEN p_reason IS NULL THEN 0 ELSE 4 END, is_doubtful = true, reason = p_reason,
                      finished_ms = CASE WHEN p_reason IS NOT NULL THEN p_now END
    WHERE account_id = p_account AND client_id = p_client AND state + 0 = 7 RETURNING *;
    IF FOUND AND v_epoch <> p_epoch THEN
        UPDATE journals SET calls = calls + 1 WHERE account_id = p_account;
    END IF;
END $$;

-- A session has one role, and every role has slots of its own. They are made when the first process asks for them.
ALTER TABLE worker_sessions ADD COLUMN role text NOT NULL DEFAULT 'all' CHECK (role IN ('all', 'poller', 'handler', 'sender'));
ALTER TABLE slots ADD COLUMN role text NOT NULL DEFAULT 'all';
ALTER TABLE slots DROP CONSTRAINT slots_pkey;
ALTER TABLE slots ADD PRIMARY KEY (role, slot_id);

-- Begins a session, unless the fleet works in the other way: a process that does everything, and others that do a part
-- of it for the same accounts, would not leave each other alone. The lock lets two who begin at once see each other.
CREATE FUNCTION open_session(
    p_session uuid, p_node text, p_pid integer, p_version text, p_weight integer, p_ttl interval, p_role text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    w worker_sessions;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ilink:fleet:' || current_schema(), 0));
    SELECT * INTO w FROM worker_sessions
    WHERE state <> 'dead' AND expires_at > clock_timestamp() AND (role = 'all') <> (p_role = 'all') LIMIT 1;
    IF FOUND THEN
        RETURN format('pid %s on %s (%s)', w.pid, w.node, w.role);
    END IF;
    IF NOT EXISTS (SELECT FROM slots WHERE role = p_role) THEN
        INSERT INTO slots (slot_id, role) SELECT slot_id, p_role FROM slots WHERE role = 'all' ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO worker_sessions (session_id, node, pid, version, weight, expires_at, role)
    VALUES (p_session, p_node, p_pid, p_version, p_weight, clock_timestamp() + p_ttl, p_role)
    ON CONFLICT (session_id) DO NOTHING;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION reap_sessions() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    died integer;
BEGIN
    UPDATE worker_sessions w SET state = 'dead'
    FROM (SELECT session_id FROM worker_sessions
          WHERE state <> 'dead' AND expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED) late
    WHERE w.session_id = late.session_id;
    GET DIAGNOSTICS died = ROW_COUNT;
    UPDATE slots s SET owner = NULL, given_to = NULL, released_by = NULL, released_at = clock_timestamp()
    FROM (SELECT slots.role, slot_id FROM slots JOIN worker_sessions w ON w.session_id = owner
          WHERE w.state = 'dead' FOR UPDATE OF slots SKIP LOCKED) orphan
    WHERE s.role = orphan.role AND s.slot_id = orphan.slot_id;
    DELETE FROM worker_sessions w
    WHERE w.state = 'dead' AND w.expires_at < clock_timestamp() - interval '1 day'
      AND NOT EXISTS (SELECT FROM slots WHERE owner = w.session_id);
    RETURN died;
END $$;

CREATE OR REPLACE FUNCTION claim_slots(claimant uuid, most integer, cool_down interval, hand_over interval)
RETURNS TABLE (slot_id integer, epoch bigint) LANGUAGE sql AS $$
    UPDATE slots s SET owner = claimant, epoch = s.epoch + 1, given_to = NULL
    FROM (SELECT f.role, f.slot_id FROM slots f
          WHERE f.owner IS NULL AND f.role = (SELECT role FROM worker_sessions WHERE session_id = claimant)
            AND (f.given_to IS NULL OR f.given_to = claimant OR f.released_at < clock_timestamp() - hand_over)
            AND (f.released_by IS DISTINCT FROM claimant OR f.released_at < clock_timestamp() - cool_down)
            AND EXISTS (SELECT FROM worker_sessions w WHERE w.session_id = claimant AND w.state = 'live'
                          AND w.expires_at > clock_timestamp())
          ORDER BY f.given_to = claimant DESC NULLS LAST, f.slot_id LIMIT most FOR UPDATE SKIP LOCKED) free
    WHERE s.role = free.role AND s.slot_id = free.slot_id
    RETURNING s.slot_id, s.epoch
$$;

-- As before; of several processes of a fleet that work for an account, the one that asks comes first.
CREATE OR REPLACE FUNCTION lease_account(
    p_account text, p_holder uuid, p_words text, p_node text, p_pid integer, p_ttl interval,
    OUT is_taken boolean, OUT is_lease boolean, OUT held_by text)
LANGUAGE plpgsql AS $$
DECLARE
    w worker_sessions;
BEGIN
    SELECT s.* INTO w FROM slots JOIN worker_sessions s ON s.session_id = owner
    WHERE slot_id = slot_of(p_account) AND s.state <> 'dead' AND s.expires_at > clock_timestamp()
    ORDER BY (s.node = p_node AND s.pid = p_pid) DESC LIMIT 1;
    is_lease := NOT FOUND;
    IF NOT is_lease AND (w.node <> p_node OR w.pid <> p_pid) THEN
        is_taken := false;
        held_by := format('pid %s on %s (a fleet)', w.pid, w.node);
        RETURN;
    END IF;
    SELECT words INTO held_by FROM account_leases
    WHERE account_id = p_account AND holder <> p_holder AND expires_at >= clock_timestamp() FOR UPDATE;
    is_taken := NOT FOUND;
    IF is_taken AND is_lease THEN
        INSERT INTO account_leases AS l (account_id, holder, words, expires_at)
        VALUES (p_account, p_holder, p_words, clock_timestamp() + p_ttl)
        ON CONFLICT (account_id) DO UPDATE SET holder = p_holder, words = p_words, expires_at = clock_timestamp() + p_ttl
        WHERE l.holder = p_holder OR l.expires_at < clock_timestamp();
        is_taken := FOUND;
        held_by := CASE WHEN NOT FOUND THEN 'another process' END;
    END IF;
END $$;
