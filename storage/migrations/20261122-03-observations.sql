-- Ingest batches, raw payloads, quarantine, observations with their revisions, and the work that a commit leaves behind.
-- depends: 20261122-02-registers

CREATE TABLE ingest_batch (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_kind   text NOT NULL CHECK (source_kind IN ('file','inbox','mqtt','http','analysis','override','replay')),
    source        text NOT NULL,
    device        text,
    actor         text,
    format        text,
    profile       text,
    sha256        text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    parameters    jsonb NOT NULL DEFAULT '{}',
    received_at   timestamptz NOT NULL,
    committed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted      bigint NOT NULL DEFAULT 0,
    duplicate     bigint NOT NULL DEFAULT 0,
    corrected     bigint NOT NULL DEFAULT 0,
    rejected      bigint NOT NULL DEFAULT 0,
    ledger_seq    bigint UNIQUE REFERENCES ledger
);
CREATE INDEX ingest_batch_sha256 ON ingest_batch (sha256);
COMMENT ON COLUMN ingest_batch.ledger_seq IS 'NULL = the batch changed no observation.';

CREATE TABLE ingest_batch_datastream (
    batch_id       bigint  NOT NULL REFERENCES ingest_batch,
    datastream_id  integer NOT NULL REFERENCES datastream,
    changed        bigint  NOT NULL,
    time_from      timestamptz NOT NULL,
    time_to        timestamptz NOT NULL,
    PRIMARY KEY (batch_id, datastream_id)
);
CREATE INDEX ingest_batch_datastream_datastream ON ingest_batch_datastream (datastream_id, batch_id);
COMMENT ON TABLE ingest_batch_datastream IS 'What a batch touched: the span of accepted and corrected observations per datastream, for feeds and as-of reads.';

CREATE TABLE raw_payload (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     bigint NOT NULL REFERENCES ingest_batch,
    ordinal      integer NOT NULL,
    source       text NOT NULL,
    media_type   text,
    received_at  timestamptz NOT NULL,
    sha256       text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size         bigint NOT NULL,
    body         bytea,
    location     text,
    CHECK (body IS NOT NULL OR location IS NOT NULL),
    UNIQUE (batch_id, ordinal)
);
CREATE TRIGGER raw_payload_append_only BEFORE UPDATE OR DELETE ON raw_payload FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE quarantine (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id         bigint NOT NULL REFERENCES ingest_batch,
    raw_payload_id   bigint REFERENCES raw_payload,
    station_code     text,
    line             integer NOT NULL,
    code             text NOT NULL,
    reason           text NOT NULL,
    raw              bytea NOT NULL,
    received_at      timestamptz NOT NULL,
    resolved_at      timestamptz,
    resolved_batch   bigint REFERENCES ingest_batch
);
CREATE INDEX quarantine_open ON quarantine (received_at) WHERE resolved_at IS NULL;

CREATE TABLE observation (
    datastream_id    integer          NOT NULL,
    phenomenon_time  timestamptz      NOT NULL,
    phenomenon_end   timestamptz,
    result           double precision,
    sigma            double precision,
    quality          smallint         NOT NULL DEFAULT 2 CHECK (quality IN (1,2,3,4,9)),
    quality_reasons  text[],
    result_time      timestamptz,
    received_at      timestamptz      NOT NULL,
    batch_id         bigint           NOT NULL,
    PRIMARY KEY (datastream_id, phenomenon_time),
    CONSTRAINT a_missing_result_is_flagged CHECK (result IS NOT NULL OR quality = 9),
    CONSTRAINT a_sigma_is_not_negative CHECK (sigma >= 0),
    CONSTRAINT an_extent_has_a_length CHECK (phenomenon_end IS NULL OR phenomenon_end > phenomenon_time)
);
DO $$ BEGIN
    PERFORM create_hypertable('observation', 'phenomenon_time', chunk_time_interval => interval '1 year', create_default_indexes => false);
END $$;
COMMENT ON TABLE observation IS 'Current value of each (datastream, phenomenon_time); superseded values are in observation_revision.';

CREATE TABLE observation_revision (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    datastream_id    integer          NOT NULL REFERENCES datastream,
    phenomenon_time  timestamptz      NOT NULL,
    phenomenon_end   timestamptz,
    result           double precision,
    sigma            double precision,
    quality          smallint         NOT NULL,
    quality_reasons  text[],
    result_time      timestamptz,
    received_at      timestamptz      NOT NULL,
    batch_id         bigint           NOT NULL REFERENCES ingest_batch,
    superseded_by    bigint           NOT NULL REFERENCES ingest_batch,
    superseded_at    timestamptz      NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX observation_revision_key ON observation_revision (datastream_id, phenomenon_time);
CREATE TRIGGER observation_revision_append_only BEFORE UPDATE OR DELETE ON observation_revision FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE datastream_status (
    datastream_id    integer PRIMARY KEY REFERENCES datastream,
    first_time       timestamptz,
    last_time        timestamptz,
    last_received_at timestamptz,
    last_result      double precision,
    last_quality     smallint,
    observations     bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE datastream_status IS 'Newest observation and count per datastream, kept in the same transaction as the batch, so that lists need no scan.';

-- Append-only work left by commits: consumers delete what they have done. kind: evaluate (alerts), rollup, analyse.
CREATE TABLE work_item (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('evaluate','rollup','analyse')),
    datastream_id  integer NOT NULL REFERENCES datastream,
    time_from      timestamptz NOT NULL,
    time_to        timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX work_item_kind ON work_item (kind, id);
COMMENT ON TABLE work_item IS 'Written in the transaction of the batch. NOTIFY groundwatch_work wakes workers and carries no data.';

CREATE TABLE idempotency (
    owner          text NOT NULL,
    key            text NOT NULL,
    request_sha256 text NOT NULL,
    response       jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, key)
);
COMMENT ON TABLE idempotency IS 'Answers to requests with an Idempotency-Key; a key is its owner''s own.';
