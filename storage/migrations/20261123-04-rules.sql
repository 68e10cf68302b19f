-- Why a version of a rule is as it is, and the policies that hold notifications back: inhibition, grouping, flapping, shelving, budget.
-- depends: 20261123-03-quality

ALTER TABLE rule ADD COLUMN reason text NOT NULL DEFAULT '';
COMMENT ON COLUMN rule.reason IS 'Why this version is as it is; demanded where its dry run goes over the alarm budget.';

CREATE TABLE alert_policy (
    version      integer PRIMARY KEY CHECK (version >= 1),
    content      jsonb NOT NULL,
    author       text NOT NULL,
    reason       text NOT NULL DEFAULT '',
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq   bigint NOT NULL REFERENCES ledger
);
COMMENT ON TABLE alert_policy IS 'What holds notifications back, as data in versions; without a row the shipped policy holds.';
CREATE TRIGGER alert_policy_append_only BEFORE UPDATE OR DELETE ON alert_policy FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE INDEX rule_ledger_seq ON rule (ledger_seq);
CREATE INDEX alert_held ON alert (id) WHERE memory ?| ARRAY['suppressed', 'shelved'];
CREATE INDEX alert_grouped ON alert ((memory ->> 'group')) WHERE memory ? 'group';
