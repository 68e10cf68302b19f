-- Flags of quality control beside what the source said, and the overrides of persons.
-- depends: 20261123-02-insar

-- No CHECK: TimescaleDB adds no constrained column to a table whose chunks may be compressed.
ALTER TABLE observation ADD COLUMN source_quality smallint;
ALTER TABLE observation ADD COLUMN source_reasons text[];
COMMENT ON COLUMN observation.source_quality IS
    'What the source said, where quality control or a person says otherwise; NULL = quality and quality_reasons are the source''s.';

CREATE TABLE quality_override (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    datastream_id  integer NOT NULL REFERENCES datastream,
    time_from      timestamptz NOT NULL,
    time_to        timestamptz NOT NULL,
    quality        smallint NOT NULL CHECK (quality IN (1,2,3,4)),
    reason         text NOT NULL CHECK (reason <> ''),
    actor          text NOT NULL CHECK (actor <> ''),
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_at   timestamptz,
    withdrawn_by   text,
    ledger_seq     bigint NOT NULL REFERENCES ledger,
    CHECK (time_to > time_from),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE INDEX quality_override_standing ON quality_override (datastream_id, time_from) WHERE withdrawn_at IS NULL;
COMMENT ON TABLE quality_override IS 'What a person said of [time_from, time_to): goes before every test, stands until withdrawn; the newest wins.';

ALTER TABLE ingest_batch DROP CONSTRAINT ingest_batch_source_kind_check;
ALTER TABLE ingest_batch ADD CONSTRAINT ingest_batch_source_kind_check
    CHECK (source_kind IN ('file','inbox','mqtt','http','tcp','analysis','quality','override','replay'));
ALTER TABLE work_item DROP CONSTRAINT work_item_kind_check;
ALTER TABLE work_item ADD CONSTRAINT work_item_kind_check CHECK (kind IN ('evaluate','rollup','analyse','quality'));
