-- Puts a message into a mailbox in one round trip: its bytes come in up to three pieces, between which its seq and its id
-- are written, which nobody knows before. A piece that is null ends it: then the number before it is not in the message.
CREATE FUNCTION post(
    p_bot bigint, p_user_id text, p_client_id text, p_at_ms bigint, p_context_token text,
    p_head bytea, p_after_seq bytea, p_after_id bytea, p_first_id bigint
) RETURNS TABLE (n bigint, seq bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_n   bigint;
    v_seq bigint;
BEGIN
    -- The number is drawn under the lock on the bot's row, which the update takes.
    UPDATE bot SET head_seq = head_seq + 1, last_n = nextval('entry_n') WHERE id = p_bot
        RETURNING last_n, head_seq INTO v_n, v_seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no bot with the number %', p_bot USING ERRCODE = 'IL001';
    END IF;
    INSERT INTO entry (n, bot, user_id, direction, seq, client_id, at_ms, state, wire)
        VALUES (v_n, p_bot, p_user_id, 0, v_seq, p_client_id, p_at_ms, 'stored',
            p_head || coalesce(convert_to(v_seq::text, 'UTF8') || p_after_seq, '')
            || coalesce(convert_to((p_first_id + v_n)::text, 'UTF8') || p_after_id, ''));
    INSERT INTO chat (bot, user_id, last_inbound_ms, sends, context_token)
        VALUES (p_bot, p_user_id, p_at_ms, 0, p_context_token)
        ON CONFLICT (bot, user_id) DO UPDATE SET last_inbound_ms = excluded.last_inbound_ms, sends = 0,
            context_token = excluded.context_token;
    INSERT INTO context_token (token, bot, user_id, issued_ms)
        VALUES (p_context_token, p_bot, p_user_id, p_at_ms) ON CONFLICT (token) DO NOTHING;
    RETURN QUERY SELECT v_n, v_seq;
END $$;
