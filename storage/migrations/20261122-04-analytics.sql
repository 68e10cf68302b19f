-- Runs of analytics and the findings that they make.
-- depends: 20261122-03-observations

CREATE TABLE analysis_run (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    datastream_id  integer NOT NULL REFERENCES datastream,
    method         text NOT NULL,
    version        text NOT NULL,
    parameters     jsonb NOT NULL,
    window_start   timestamptz,
    window_end     timestamptz,
    input_digest   text NOT NULL,
    status         text NOT NULL,
    result         jsonb NOT NULL,
    read_seq       bigint NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq     bigint NOT NULL REFERENCES ledger
);
CREATE INDEX analysis_run_latest ON analysis_run (datastream_id, method, id DESC);
COMMENT ON COLUMN analysis_run.read_seq IS 'Ledger sequence that the run read: the observations as of it give input_digest again.';

CREATE TABLE finding (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id         bigint NOT NULL REFERENCES analysis_run,
    datastream_id  integer NOT NULL REFERENCES datastream,
    kind           text NOT NULL,
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz,
    size           double precision,
    sigma          double precision,
    score          double precision,
    unit           text,
    source         text NOT NULL,
    parameters     jsonb NOT NULL DEFAULT '{}',
    superseded_by  bigint REFERENCES analysis_run
);
CREATE INDEX finding_current ON finding (datastream_id, starts_at) WHERE superseded_by IS NULL;

CREATE TABLE analysis_state (
    datastream_id  integer PRIMARY KEY REFERENCES datastream,
    analysed_at    timestamptz NOT NULL,
    read_seq       bigint NOT NULL,
    input_digest   text NOT NULL
);
