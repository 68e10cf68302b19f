-- InSAR deliveries: versions that stand side by side, a narrow row a point, and series in tiles; results of analyses beside them.
-- depends: 20261123-01-devices

CREATE TABLE insar_delivery (
    id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code             text NOT NULL CHECK (length(code) BETWEEN 1 AND 64),
    datastream_id    integer NOT NULL REFERENCES datastream,
    version          integer NOT NULL CHECK (version >= 1),
    superseded_by    integer REFERENCES insar_delivery,
    track            text NOT NULL CHECK (track <> ''),
    heading_deg      double precision CHECK (heading_deg >= -360 AND heading_deg <= 360),
    incidence_deg    double precision CHECK (incidence_deg > 0 AND incidence_deg < 90),
    source_positive  text NOT NULL CHECK (source_positive IN ('toward_satellite','away_from_satellite')),
    epochs           timestamptz[] NOT NULL CHECK (cardinality(epochs) >= 1),
    attributes       text[] NOT NULL,
    reference        jsonb NOT NULL DEFAULT '{}',
    points           integer NOT NULL CHECK (points >= 0),
    tiles            integer NOT NULL CHECK (tiles >= 0),
    bounds           box,
    source           text NOT NULL,
    sha256           text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    profile          text NOT NULL,
    parameters       jsonb NOT NULL,
    actor            text NOT NULL,
    imported_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    batch_id         bigint NOT NULL REFERENCES ingest_batch,
    ledger_seq       bigint NOT NULL UNIQUE REFERENCES ledger,
    UNIQUE (datastream_id, version)
);
CREATE UNIQUE INDEX insar_delivery_code_any_case ON insar_delivery (lower(code));
CREATE INDEX insar_delivery_sha256 ON insar_delivery (sha256);
COMMENT ON TABLE insar_delivery IS 'One file of a processor: it re-references the whole stack, so it is a version of its datastream (area, track), never appended.';
COMMENT ON COLUMN insar_delivery.superseded_by IS 'The next version of the same datastream; NULL = this is the newest. Superseded deliveries stay readable.';
COMMENT ON COLUMN insar_delivery.source_positive IS 'Sign of the file; what is stored is toward the satellite positive.';
COMMENT ON COLUMN insar_delivery.parameters IS 'The profile as it was read: the same bytes read in another way are another delivery.';

-- Partitions are made whole aside and attached, so that an import locks no reader out and a delivery can be dropped at once.
CREATE TABLE insar_point (
    delivery_id  integer NOT NULL,
    point_no     integer NOT NULL,
    pid          text COLLATE "C" NOT NULL,
    position     point NOT NULL,
    height       real,
    rate         real,
    sigma        real,
    cumulative   real,
    coherence    real,
    PRIMARY KEY (delivery_id, point_no),
    CONSTRAINT insar_point_pid UNIQUE (delivery_id, pid)
) PARTITION BY LIST (delivery_id);
CREATE INDEX insar_point_position ON insar_point USING gist (position);
COMMENT ON TABLE insar_point IS 'point_no = tile_no * 4096 + place in the tile; position is (longitude, latitude) in degrees; displacement in mm toward the satellite positive, rate and sigma in mm/a, NULL = not delivered.';

CREATE TABLE insar_tile (
    delivery_id   integer NOT NULL,
    tile_no       integer NOT NULL,
    points        integer NOT NULL CHECK (points BETWEEN 1 AND 4096),
    bounds        box NOT NULL,
    longitude     bytea STORAGE EXTERNAL NOT NULL,
    latitude      bytea STORAGE EXTERNAL NOT NULL,
    attributes    bytea STORAGE EXTERNAL NOT NULL,
    displacement  bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (delivery_id, tile_no),
    CONSTRAINT blocks_have_one_length CHECK (octet_length(longitude) = 4 * points AND octet_length(latitude) = 4 * points)
) PARTITION BY LIST (delivery_id);
CREATE INDEX insar_tile_bounds ON insar_tile USING gist (bounds);
COMMENT ON TABLE insar_tile IS 'Spatially ordered points as little-endian blocks: positions int32 in 1e-7 degree, attributes float32 [attribute][point], displacement float32 [epoch][point]. STORAGE EXTERNAL lets a slice be read without the rest.';

CREATE TABLE insar_run (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id   integer NOT NULL REFERENCES insar_delivery,
    method        text NOT NULL,
    version       text NOT NULL,
    parameters    jsonb NOT NULL,
    columns       text[] NOT NULL CHECK (cardinality(columns) >= 1),
    units         text[] NOT NULL,
    input_digest  text NOT NULL,
    summary       jsonb NOT NULL,
    actor         text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq    bigint NOT NULL UNIQUE REFERENCES ledger,
    CHECK (cardinality(columns) = cardinality(units))
);
CREATE INDEX insar_run_delivery ON insar_run (delivery_id, id DESC);

CREATE TABLE insar_run_tile (
    run_id    integer NOT NULL REFERENCES insar_run DEFERRABLE INITIALLY DEFERRED,
    tile_no   integer NOT NULL,
    points    integer NOT NULL CHECK (points BETWEEN 1 AND 4096),
    results   bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (run_id, tile_no)
);
COMMENT ON TABLE insar_run_tile IS 'Results of a run as float32 [column][point], in the order of the tile''s points; NaN = cannot tell.';

-- Make the two tables into which a delivery is loaded. One delivery is loaded at a time: the others wait here.
CREATE FUNCTION insar_begin_loading() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(577215664);
    CREATE TABLE insar_point_loading (LIKE insar_point INCLUDING DEFAULTS);
    CREATE TABLE insar_tile_loading (LIKE insar_tile INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);
END
$$;

-- Index what was loaded and attach it as a delivery's partitions. The CHECK spares the attachment a scan.
CREATE FUNCTION insar_finish_loading(delivery integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    noun text;
    part text;
BEGIN
    FOREACH noun IN ARRAY ARRAY['insar_point', 'insar_tile'] LOOP
        part := noun || '_' || delivery;
        EXECUTE format('ALTER TABLE %I RENAME TO %I', noun || '_loading', part);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT one_delivery CHECK (delivery_id = %s)', part, delivery);
    END LOOP;
    part := 'insar_point_' || delivery;
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (delivery_id, point_no), ADD UNIQUE (delivery_id, pid)', part);
    EXECUTE format('CREATE INDEX ON %I USING gist (position)', part);
    EXECUTE format('ALTER TABLE insar_point ATTACH PARTITION %I FOR VALUES IN (%s)', part, delivery);
    EXECUTE format('ANALYZE %I', part);
    part := 'insar_tile_' || delivery;
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (delivery_id, tile_no)', part);
    EXECUTE format('CREATE INDEX ON %I USING gist (bounds)', part);
    EXECUTE format('ALTER TABLE insar_tile ATTACH PARTITION %I FOR VALUES IN (%s)', part, delivery);
END
$$;
