-- Who works for which accounts. All times are those of this database, so that no two machines have to agree on one.

-- One life of a process; a new one at every start. Dead ones stay for a day, because death is looked up, never guessed
-- from a row that is missing: a claim that is just being committed has a row that others cannot see yet.
CREATE TABLE worker_sessions (
    session_id uuid        NOT NULL PRIMARY KEY,
    node       text        NOT NULL,
    pid        integer     NOT NULL,
    version    text        NOT NULL,
    weight     integer     NOT NULL CHECK (weight > 0),
    state      text        NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'draining', 'dead')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    report     jsonb       NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
CREATE INDEX worker_sessions_alive ON worker_sessions (expires_at) WHERE state <> 'dead';

CREATE TABLE slots (
    slot_id     integer NOT NULL PRIMARY KEY CHECK (slot_id BETWEEN 0 AND 4095),
    owner       uuid,                        -- a session; NULL when nobody has it
    epoch       bigint  NOT NULL DEFAULT 0,  -- counts owners
    given_to    uuid,                        -- who shall have it first
    released_by uuid,
    released_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX slots_owner ON slots (owner);
INSERT INTO slots (slot_id) SELECT generate_series(0, 4095);

-- The first twelve bits of the SHA-256 of the id; the same as `slot_of` in Python.
CREATE FUNCTION slot_of(account_id text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (get_byte(sha256(convert_to(account_id, 'UTF8')), 0) << 4) | (get_byte(sha256(convert_to(account_id, 'UTF8')), 1) >> 4);

-- Several statements on purpose: each sees what was committed before it began. In one statement a slot that its owner
-- claims while it is declared dead would stay with the dead for ever. Rows that others have locked are left for the
-- next look, so that two who reap cannot wait for each other.
CREATE FUNCTION reap_sessions() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    died integer;
BEGIN
    UPDATE worker_sessions w SET state = 'dead'
    FROM (SELECT session_id FROM worker_sessions
          WHERE state <> 'dead' AND expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED) late
    WHERE w.session_id = late.session_id;
    GET DIAGNOSTICS died = ROW_COUNT;
    UPDATE slots s SET owner = NULL, given_to = NULL, released_by = NULL, released_at = clock_timestamp()
    FROM (SELECT slot_id FROM slots JOIN worker_sessions w ON w.session_id = owner
          WHERE w.state = 'dead' FOR UPDATE OF slots SKIP LOCKED) orphan
    WHERE s.slot_id = orphan.slot_id;
    DELETE FROM worker_sessions w
    WHERE w.state = 'dead' AND w.expires_at < clock_timestamp() - interval '1 day'
      AND NOT EXISTS (SELECT FROM slots WHERE owner = w.session_id);
    RETURN died;
END $$;

CREATE FUNCTION claim_slots(claimant uuid, most integer, cool_down interval, hand_over interval)
RETURNS TABLE (slot_id integer, epoch bigint) LANGUAGE sql AS $$
    UPDATE slots s SET owner = claimant, epoch = s.epoch + 1, given_to = NULL
    FROM (SELECT f.slot_id FROM slots f
          WHERE f.owner IS NULL
            AND (f.given_to IS NULL OR f.given_to = claimant OR f.released_at < clock_timestamp() - hand_over)
            AND (f.released_by IS DISTINCT FROM claimant OR f.released_at < clock_timestamp() - cool_down)
            AND EXISTS (SELECT FROM worker_sessions w WHERE w.session_id = claimant AND w.state = 'live'
                          AND w.expires_at > clock_timestamp())
          ORDER BY f.given_to = claimant DESC NULLS LAST, f.slot_id LIMIT most FOR UPDATE SKIP LOCKED) free
    WHERE s.slot_id = free.slot_id
    RETURNING s.slot_id, s.epoch
$$;
