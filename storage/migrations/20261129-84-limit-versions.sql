-- Limits in versions, as licences: what was observed is judged by the limit that held on its day.
-- depends: 20261129-62-analyse-work

ALTER TABLE control_limit DROP CONSTRAINT control_limit_pkey;
ALTER TABLE control_limit ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
CREATE INDEX control_limit_code ON control_limit (code);
COMMENT ON COLUMN control_limit.effective_from IS
    'First day of this version, NULL = always; of those of one day the one recorded last counts, and a later one ends it.';
CREATE TRIGGER control_limit_append_only BEFORE UPDATE OR DELETE ON control_limit FOR EACH ROW EXECUTE FUNCTION refuse_change();
