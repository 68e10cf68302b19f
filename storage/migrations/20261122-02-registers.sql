-- Registers: regions, datums, observed properties, stations, sensors, datastreams, events, licences, limits.
-- depends: 20261122-01-ledger

CREATE TABLE region (
    code         text PRIMARY KEY CHECK (code ~ '^[0-9]{6}$'),
    name_zh      text NOT NULL,
    name_en      text NOT NULL,
    parent_code  text REFERENCES region,
    geometry     jsonb
);
COMMENT ON COLUMN region.code IS 'GB/T 2260.';

CREATE TABLE datum (
    code     text PRIMARY KEY,
    name_zh  text NOT NULL,
    name_en  text NOT NULL,
    source   text NOT NULL
);

CREATE TABLE datum_offset (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_datum    text NOT NULL REFERENCES datum,
    target_datum    text NOT NULL REFERENCES datum,
    region_prefix   text NOT NULL CHECK (region_prefix ~ '^[0-9]{0,6}$'),
    offset_m        double precision NOT NULL,
    source          text NOT NULL,
    effective_from  date,
    effective_to    date,
    UNIQUE NULLS NOT DISTINCT (source_datum, target_datum, region_prefix, effective_from),
    CHECK (source_datum <> target_datum)
);

CREATE TABLE observed_property (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE CHECK (code ~ '^[a-z][a-z0-9_]{0,63}$'),
    name_zh      text NOT NULL,
    name_en      text NOT NULL,
    unit         text NOT NULL CHECK (unit <> ''),
    direction    text NOT NULL,
    value_kind   text NOT NULL CHECK (value_kind IN ('instant','mean','total','totaliser')),
    needs_datum  boolean NOT NULL DEFAULT false,
    lowest       double precision,
    highest      double precision,
    UNIQUE (id, needs_datum)
);
COMMENT ON COLUMN observed_property.unit IS 'Canonical UCUM code.';
COMMENT ON COLUMN observed_property.direction IS 'Which way is positive, in words.';

CREATE TABLE station (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code           text NOT NULL CHECK (length(code) BETWEEN 1 AND 64),
    kind           text NOT NULL,
    name_zh        text NOT NULL,
    name_en        text NOT NULL,
    region_code    text,
    longitude_deg  double precision CHECK (longitude_deg BETWEEN -180 AND 180),
    latitude_deg   double precision CHECK (latitude_deg BETWEEN -90 AND 90),
    height_m       double precision,
    disclosure     text NOT NULL DEFAULT 'restricted' CHECK (disclosure IN ('open','rounded','relative','restricted')),
    zone_code      text,
    tags           text[] NOT NULL DEFAULT '{}',
    confirmed      boolean NOT NULL DEFAULT true,
    simulated      boolean NOT NULL DEFAULT false,
    attributes     jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq     bigint NOT NULL REFERENCES ledger,
    CHECK ((longitude_deg IS NULL) = (latitude_deg IS NULL))
);
CREATE UNIQUE INDEX station_code_any_case ON station (lower(code));
COMMENT ON COLUMN station.longitude_deg IS 'CGCS2000 geographic.';

CREATE TABLE sensor (
    id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_id       integer NOT NULL REFERENCES station,
    code             text NOT NULL,
    model            text,
    serial           text,
    calibrated_on    date,
    calibration_due  date,
    calibration      jsonb NOT NULL DEFAULT '{}',
    datum_code       text REFERENCES datum,
    installed_at     timestamptz,
    removed_at       timestamptz,
    ledger_seq       bigint NOT NULL REFERENCES ledger,
    UNIQUE (station_id, code)
);

CREATE TABLE datastream (
    id                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code              text NOT NULL,
    station_id        integer NOT NULL REFERENCES station,
    sensor_id         integer REFERENCES sensor,
    property_id       integer NOT NULL,
    needs_datum       boolean NOT NULL,
    channel           text,
    name_zh           text,
    name_en           text,
    unit              text NOT NULL CHECK (unit <> ''),
    interval_s        double precision CHECK (interval_s > 0),
    depth_top_m       double precision,
    depth_bottom_m    double precision,
    aquifer           text,
    datum_code        text REFERENCES datum,
    datum_epoch       date,
    frame             text,
    lowest            double precision,
    highest           double precision,
    disclosure        text CHECK (disclosure IN ('open','rounded','relative','restricted')),
    confirmed         boolean NOT NULL DEFAULT true,
    derived           boolean NOT NULL DEFAULT false,
    method            text,
    method_version    text,
    method_parameters jsonb,
    input_digest      text,
    source_datastream_id integer REFERENCES datastream,
    attributes        jsonb NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq        bigint NOT NULL REFERENCES ledger,
    FOREIGN KEY (property_id, needs_datum) REFERENCES observed_property (id, needs_datum),
    CONSTRAINT a_height_has_a_datum CHECK (NOT needs_datum OR datum_code IS NOT NULL),
    CONSTRAINT a_derived_datastream_has_a_method CHECK (
        NOT derived OR (method IS NOT NULL AND method_version IS NOT NULL AND method_parameters IS NOT NULL AND input_digest IS NOT NULL)),
    CHECK (depth_top_m IS NULL OR depth_bottom_m IS NULL OR depth_top_m < depth_bottom_m)
);
CREATE UNIQUE INDEX datastream_code_any_case ON datastream (lower(code));
CREATE INDEX datastream_station ON datastream (station_id);
CREATE INDEX datastream_source ON datastream (source_datastream_id) WHERE source_datastream_id IS NOT NULL;

CREATE TABLE station_event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_id     integer NOT NULL REFERENCES station,
    datastream_id  integer REFERENCES datastream,
    kind           text NOT NULL,
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz,
    effect         text NOT NULL DEFAULT 'none' CHECK (effect IN ('offset','break','exclude','none')),
    size           double precision,
    note           text,
    author         text,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_at   timestamptz,
    ledger_seq     bigint NOT NULL REFERENCES ledger,
    CHECK (ends_at IS NULL OR ends_at >= starts_at),
    UNIQUE NULLS NOT DISTINCT (station_id, datastream_id, kind, starts_at, withdrawn_at)
);
COMMENT ON TABLE station_event IS 'Event log with time span and effect; never deleted, only withdrawn.';

CREATE TABLE licence (
    code                text PRIMARY KEY,
    station_id          integer NOT NULL REFERENCES station,
    holder              text NOT NULL,
    valid_from          date NOT NULL,
    valid_to            date NOT NULL,
    quota_m3_per_a      double precision CHECK (quota_m3_per_a > 0),
    quota_m3_per_d      double precision CHECK (quota_m3_per_d > 0),
    licence_year_start  text NOT NULL DEFAULT '01-01' CHECK (licence_year_start ~ '^[0-9]{2}-[0-9]{2}$'),
    reinjection_ratio   double precision CHECK (reinjection_ratio BETWEEN 0 AND 1),
    drawdown_limit_m    double precision,
    source              text NOT NULL,
    attributes          jsonb NOT NULL DEFAULT '{}',
    ledger_seq          bigint NOT NULL REFERENCES ledger,
    CHECK (valid_to > valid_from)
);
COMMENT ON COLUMN licence.reinjection_ratio IS 'NULL = this holder has no reinjection duty.';

CREATE TABLE control_limit (
    code            text PRIMARY KEY,
    property_code   text NOT NULL REFERENCES observed_property (code),
    unit            text NOT NULL CHECK (unit <> ''),
    value           double precision NOT NULL,
    kind            text NOT NULL,
    level           text CHECK (level IN ('blue','yellow','orange','red')),
    zone_code       text,
    aquifer         text,
    station_code    text,
    source          text NOT NULL,
    effective_from  date,
    effective_to    date,
    ledger_seq      bigint NOT NULL REFERENCES ledger
);
COMMENT ON TABLE control_limit IS 'Limits, bans and targets by (zone, aquifer or station, property); never in code.';
