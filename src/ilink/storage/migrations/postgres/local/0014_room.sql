-- Shows whether there is room on the disk: a small write may still find some in pages that are there, while messages do
-- not. Emptied first, so that all of it is asked for anew.
CREATE TABLE room (filler bytea);
ALTER TABLE room ALTER COLUMN filler SET STORAGE EXTERNAL;

CREATE FUNCTION prove_room(p_bytes integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE room;
    INSERT INTO room VALUES (decode(repeat('00', p_bytes), 'hex'));
END $$;
