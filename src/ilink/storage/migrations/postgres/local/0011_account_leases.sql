-- Which process works for an account, where no fleet does: a lease that it renews, by the clock of this database.
CREATE TABLE account_leases (
    account_id text        COLLATE "C" NOT NULL PRIMARY KEY,
    holder     uuid        NOT NULL,
    words      text        NOT NULL,  -- who that is, for people
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX account_leases_holder ON account_leases (holder);

-- Takes an account unless somebody else has it: another process, or the process of a fleet that has its slot. The
-- process that has its slot itself needs no lease beside that.
CREATE FUNCTION lease_account(
    p_account text, p_holder uuid, p_words text, p_node text, p_pid integer, p_ttl interval,
    OUT is_taken boolean, OUT is_lease boolean, OUT held_by text)
LANGUAGE plpgsql AS $$
DECLARE
    w worker_sessions;
BEGIN
    SELECT s.* INTO w FROM slots JOIN worker_sessions s ON s.session_id = owner
    WHERE slot_id = slot_of(p_account) AND s.state <> 'dead' AND s.expires_at > clock_timestamp();
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
