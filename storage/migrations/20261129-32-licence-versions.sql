-- Licences in versions: what happened is judged by the version that held on its day.
-- depends: 20261129-31-foreign-alerts

ALTER TABLE licence ADD COLUMN effective_from date;
UPDATE licence SET effective_from = valid_from;
ALTER TABLE licence ALTER COLUMN effective_from SET NOT NULL;
ALTER TABLE licence DROP CONSTRAINT licence_pkey;
ALTER TABLE licence ADD CONSTRAINT licence_pkey PRIMARY KEY (code, effective_from, ledger_seq);
COMMENT ON COLUMN licence.effective_from IS
    'First day of this version; of those of one day the one recorded last counts, and the others stay for whoever asks what was known.';
CREATE TRIGGER licence_append_only BEFORE UPDATE OR DELETE ON licence FOR EACH ROW EXECUTE FUNCTION refuse_change();
