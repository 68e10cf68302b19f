-- What the running processes say of themselves, and the digest by which a reject that came before is recognised.
-- depends: 20261122-07-rollups

CREATE TABLE process_status (
    process     text NOT NULL,
    instance    text NOT NULL,
    pid         integer NOT NULL,
    host        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    detail      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (process, instance)
);
COMMENT ON TABLE process_status IS 'Newest sign of life of each process. One that ends in order takes its row away; its times are by the database''s own clock.';

ALTER TABLE quarantine ADD COLUMN payload_sha256 text CHECK (payload_sha256 ~ '^[0-9a-f]{64}$');
UPDATE quarantine SET payload_sha256 = raw_payload.sha256 FROM raw_payload WHERE raw_payload.id = quarantine.raw_payload_id;
CREATE INDEX quarantine_open_payload ON quarantine (payload_sha256, line) WHERE resolved_at IS NULL;
COMMENT ON COLUMN quarantine.payload_sha256 IS 'Digest of the payload the reject came in: the same payload sent again adds no second entry while the first is open.';
