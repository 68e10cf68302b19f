-- The audit log's head, so that a cut-off end is seen, and hashes in which no text can move from one field to the next.
-- depends: 20261129-32-licence-versions

ALTER TABLE audit_log ADD COLUMN hash_version smallint NOT NULL DEFAULT 1;
ALTER TABLE audit_log ALTER COLUMN hash_version SET DEFAULT 2;
COMMENT ON COLUMN audit_log.hash_version IS
    '1 = sha256(previous_hash|epoch|actor|action|subject|detail), as entries were written at first; 2 = sha256 of those as a JSON array.';
COMMENT ON TABLE audit_log IS 'Hash chain over what people and the machine did; audit_head holds its newest hash and length.';

CREATE TABLE audit_head (
    only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    entries     bigint NOT NULL,
    entry_id    bigint NOT NULL,
    entry_hash  text NOT NULL
);
INSERT INTO audit_head (entries, entry_id, entry_hash)
SELECT count(*), coalesce(max(id), 0), coalesce((SELECT entry_hash FROM audit_log ORDER BY id DESC LIMIT 1), repeat('0', 64)) FROM audit_log;

CREATE FUNCTION audit_hash(version smallint, before_hash text, entry_time timestamptz, entry_actor text, entry_action text, entry_subject text,
                           entry_detail jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(convert_to(
        CASE version
            WHEN 1 THEN concat_ws('|', before_hash, extract(epoch FROM entry_time)::text, entry_actor, entry_action, entry_subject,
                                  entry_detail::text)
            ELSE jsonb_build_array(version, before_hash, extract(epoch FROM entry_time)::text, entry_actor, entry_action, entry_subject,
                                   entry_detail)::text
        END, 'UTF8')), 'hex')
$$;

CREATE OR REPLACE FUNCTION audit_append(entry_actor text, entry_action text, entry_subject text, entry_detail jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before_hash text;
    entry_time  timestamptz := clock_timestamp();
    new_hash    text;
    new_id      bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(314159265);
    SELECT head.entry_hash INTO before_hash FROM audit_head AS head;
    new_hash := audit_hash(2::smallint, before_hash, entry_time, entry_actor, entry_action, entry_subject, entry_detail);
    INSERT INTO audit_log (recorded_at, actor, action, subject, detail, previous_hash, entry_hash, hash_version)
    VALUES (entry_time, entry_actor, entry_action, entry_subject, entry_detail, before_hash, new_hash, 2)
    RETURNING id INTO new_id;
    UPDATE audit_head AS head SET entries = head.entries + 1, entry_id = new_id, entry_hash = new_hash;
    RETURN new_id;
END
$$;

CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_head_not_emptied BEFORE DELETE OR TRUNCATE ON audit_head FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_transition_not_emptied BEFORE TRUNCATE ON alert_transition FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER case_event_not_emptied BEFORE TRUNCATE ON case_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_verdict_not_emptied BEFORE TRUNCATE ON alert_verdict FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
