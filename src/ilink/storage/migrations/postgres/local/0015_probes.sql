-- Moves the times of what waits to those of a clock that was set; nothing expires earlier than it was to, and a window
-- that the server closed is tried again when it was to be.
CREATE OR REPLACE FUNCTION move_times(p_account text, p_gap_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inbox SET due_ms = due_ms + p_gap_ms WHERE account_id = p_account AND state = 0 AND due_ms > 0;
    UPDATE windows SET heard_ms = heard_ms + p_gap_ms, paused_until_ms = paused_until_ms + p_gap_ms,
        probe_ms = CASE WHEN probe_ms > 0 THEN probe_ms + p_gap_ms ELSE 0 END
    WHERE account_id = p_account;
    IF p_gap_ms > 0 THEN
        UPDATE outbox SET expires_ms = expires_ms + p_gap_ms, finished_ms = finished_ms + p_gap_ms
        WHERE account_id = p_account;
        UPDATE inbox SET received_ms = received_ms + p_gap_ms WHERE account_id = p_account;
    END IF;
END $$;
