-- Forgets what was finished before a moment. The updates of a day are left to `keep_inbox_days`, which drops its table as
-- soon as no account needs it; what is deleted row by row is what outlived its day, and what lies in a day that others
-- have needed for longer than a stopped account holds one.
CREATE OR REPLACE FUNCTION prune_journal(p_account text, p_before_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_updates  bigint;
    v_messages bigint;
BEGIN
    DELETE FROM inbox WHERE account_id = p_account AND day < p_before_ms / 86400000 - 3 AND state IN (1, 3)
        AND received_ms < p_before_ms;
    GET DIAGNOSTICS v_updates = ROW_COUNT;
    DELETE FROM outbox WHERE account_id = p_account AND finished_ms < p_before_ms;
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    UPDATE journals SET forget_ms = p_before_ms, kept_at = clock_timestamp() WHERE account_id = p_account;
    RETURN v_updates + v_messages;
END $$;
