-- Out of service (ISA-18.2): a sensor or a rule is taken out by a person for a stated time; that is another thing than a silence or a shelving.
-- depends: 20261129-84-quick-queue

ALTER TABLE silence ADD COLUMN kind text NOT NULL DEFAULT 'silence' CHECK (kind IN ('silence', 'out_of_service'));
COMMENT ON COLUMN silence.kind IS 'silence = messages wait, out_of_service = what the sensor or the rule says is known to be worth nothing for now.';
