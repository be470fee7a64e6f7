-- Who was let in by the owner, and who asks to be. A code is worth something until its time is over.
CREATE TABLE pairings (
    account_id  text   COLLATE "C" NOT NULL,
    user_id     text   COLLATE "C" NOT NULL,
    code        text   COLLATE "C",     -- what the owner has to repeat; NULL once that was done
    asked_by    text,                   -- the message that was answered with the code
    since_ms    bigint NOT NULL,
    expires_ms  bigint,                 -- of the code
    PRIMARY KEY (account_id, user_id)
);
CREATE UNIQUE INDEX pairings_code ON pairings (account_id, code) WHERE code IS NOT NULL;

-- One row per account that takes pairings: whoever changes them holds it. It counts wrong codes, until one is right or
-- the time is over.
CREATE TABLE pairing_guesses (
    account_id text   COLLATE "C" NOT NULL PRIMARY KEY,
    wrong      bigint NOT NULL DEFAULT 0,
    until_ms   bigint NOT NULL DEFAULT 0
);

CREATE FUNCTION lock_pairings(p_account text, p_now_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pairing_guesses (account_id) VALUES (p_account) ON CONFLICT DO NOTHING;
    PERFORM FROM pairing_guesses WHERE account_id = p_account FOR UPDATE;
    UPDATE pairing_guesses SET wrong = 0, until_ms = 0
    WHERE account_id = p_account AND wrong > 0 AND until_ms <= p_now_ms;
    DELETE FROM pairings WHERE account_id = p_account AND code IS NOT NULL AND expires_ms <= p_now_ms;
END $$;

-- No row when too many wait already.
CREATE FUNCTION ask_pairing(
    p_account text, p_user text, p_by text, p_code text, p_now_ms bigint, p_expires_ms bigint, p_most integer)
RETURNS TABLE (held_code text, must_tell boolean, held_until_ms bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_pairings(p_account, p_now_ms);
    RETURN QUERY SELECT coalesce(p.code, ''), coalesce(p.asked_by = p_by, false), coalesce(p.expires_ms, p_now_ms)
        FROM pairings p WHERE p.account_id = p_account AND p.user_id = p_user;
    IF FOUND OR (SELECT count(*) FROM pairings p WHERE p.account_id = p_account AND p.code IS NOT NULL) >= p_most THEN
        RETURN;
    END IF;
    INSERT INTO pairings (account_id, user_id, code, asked_by, since_ms, expires_ms)
    VALUES (p_account, p_user, p_code, p_by, p_now_ms, p_expires_ms);
    RETURN QUERY SELECT p_code, true, p_expires_ms;
END $$;

-- A user when the code is right; a moment when too many were wrong; neither when this one is wrong.
CREATE FUNCTION approve_pairing(
    p_account text, p_code text, p_now_ms bigint, p_wrong_codes bigint, p_until_ms bigint,
    OUT let_in text, OUT locked_until_ms bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_pairings(p_account, p_now_ms);
    SELECT until_ms INTO locked_until_ms FROM pairing_guesses WHERE account_id = p_account AND wrong >= p_wrong_codes;
    IF FOUND THEN
        RETURN;
    END IF;
    UPDATE pairings SET code = NULL, asked_by = NULL, expires_ms = NULL, since_ms = p_now_ms
    WHERE account_id = p_account AND code = p_code RETURNING user_id INTO let_in;
    IF FOUND THEN
        UPDATE pairing_guesses SET wrong = 0, until_ms = 0 WHERE account_id = p_account;
    ELSE
        UPDATE pairing_guesses SET wrong = wrong + 1, until_ms = p_until_ms WHERE account_id = p_account;
    END IF;
END $$;
