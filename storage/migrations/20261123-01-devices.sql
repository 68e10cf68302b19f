-- Devices by the identity that their frames carry, and in quarantine the identity of frames that nobody has admitted yet.
-- depends: 20261122-08-heartbeats

CREATE TABLE device (
    protocol    text NOT NULL CHECK (protocol ~ '^[a-z][a-z0-9_]{0,31}$'),
    identity    text NOT NULL CHECK (length(identity) BETWEEN 1 AND 128),
    station_id  integer REFERENCES station,
    status      text NOT NULL CHECK (status IN ('admitted','rejected')),
    password    text,
    note        text,
    attributes  jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq  bigint NOT NULL REFERENCES ledger,
    PRIMARY KEY (protocol, identity),
    CONSTRAINT an_admitted_device_names_its_station CHECK (status <> 'admitted' OR station_id IS NOT NULL)
);
CREATE INDEX device_station ON device (station_id);
COMMENT ON TABLE device IS 'Which station the frames of an RTU address (SL 651), an MN (HJ 212) or a devEui (LoRaWAN) belong to.';
COMMENT ON COLUMN device.password IS 'Plain, because the protocols send it so: it tells a wrong device from the right one and protects nothing else.';

ALTER TABLE quarantine ADD COLUMN device text;
CREATE INDEX quarantine_open_device ON quarantine (device) WHERE resolved_at IS NULL AND device IS NOT NULL;
COMMENT ON COLUMN quarantine.device IS 'protocol:identity of the frame, where it carries one: unknown devices are listed, admitted and replayed by it.';

ALTER TABLE ingest_batch DROP CONSTRAINT ingest_batch_source_kind_check;
ALTER TABLE ingest_batch ADD CONSTRAINT ingest_batch_source_kind_check
    CHECK (source_kind IN ('file','inbox','mqtt','http','tcp','analysis','override','replay'));
