-- What a process of a fleet asks again and again: whether any account changed, and which accounts its slots have.
CREATE INDEX accounts_slot ON accounts (slot_of(account_id));
CREATE INDEX accounts_displaced ON accounts (owner_id, base_url) WHERE state = 'displaced';

-- Counts changes of accounts. The numbers become visible together with what they count, which a sequence's would not:
-- who reads the numbers first and the accounts next misses nothing. Several, so that changes seldom wait for each other.
CREATE TABLE account_changes (
    part    integer NOT NULL PRIMARY KEY CHECK (part BETWEEN 0 AND 15),
    changes bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO account_changes (part) SELECT generate_series(0, 15);

CREATE FUNCTION count_account_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account_changes SET changes = changes + 1
    WHERE part = slot_of(CASE TG_OP WHEN 'DELETE' THEN OLD.account_id ELSE NEW.account_id END) % 16;
    RETURN NULL;
END $$;

CREATE TRIGGER count_changes AFTER INSERT OR UPDATE OR DELETE ON accounts
FOR EACH ROW EXECUTE FUNCTION count_account_change();

-- As before; besides, a process of a fleet names the lease by which it works for the account. Its epoch is compared here,
-- where the journal is locked: a process that stood still since it looked at its lease is told so (no epoch is returned).
-- The slot's row is held until the end, so that it is not claimed between the comparison and the adoption.
ALTER FUNCTION adopt_journal(text, uuid, text) RENAME TO take_journal;

CREATE FUNCTION adopt_journal(
    p_account text, p_adopter uuid, p_roles text, p_session uuid DEFAULT NULL, p_slot_epoch bigint DEFAULT NULL,
    OUT epoch bigint, OUT was_open boolean, OUT newest bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_journal(p_account);
    IF p_session IS NOT NULL THEN
        PERFORM FROM slots s
        WHERE s.role = p_roles AND s.slot_id = slot_of(p_account) AND s.owner = p_session AND s.epoch = p_slot_epoch
        FOR SHARE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    SELECT t.epoch, t.was_open, t.newest INTO epoch, was_open, newest
    FROM take_journal(p_account, p_adopter, p_roles) t;
END $$;
