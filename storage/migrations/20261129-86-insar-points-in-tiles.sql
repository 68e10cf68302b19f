-- Points of InSAR deliveries live in their tiles whole: identifiers and positions become blocks beside the others, and a directory of sorted keys
-- finds a point by its identifier. A row a point with two indexes took longer to write than all its series (docs/adr/0012).
-- depends: 20261129-85-out-of-service

ALTER TABLE insar_tile ADD COLUMN positions bytea, ADD COLUMN identifiers bytea;
ALTER TABLE insar_tile ALTER COLUMN positions SET STORAGE EXTERNAL, ALTER COLUMN identifiers SET STORAGE EXTERNAL;
COMMENT ON TABLE insar_tile IS 'Spatially ordered points as blocks. Little-endian: positions int32 in 1e-7 degree for maps, attributes float32 [attribute][point], displacement float32 [epoch][point]. In network order: positions float64 in degrees [longitude, latitude][point]. Identifiers are UTF-8, filled up with NUL to the longest of the tile. point_no = tile_no * 4096 + place in the tile. STORAGE EXTERNAL lets a slice be read without the rest.';

CREATE TABLE insar_directory (
    delivery_id  integer NOT NULL,
    first_key    bigint NOT NULL,
    keys         bytea STORAGE EXTERNAL NOT NULL,
    numbers      bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (delivery_id, first_key),
    CONSTRAINT a_number_for_each_key CHECK (octet_length(keys) = 2 * octet_length(numbers) AND octet_length(numbers) >= 4)
);
COMMENT ON TABLE insar_directory IS 'Keys of the identifiers of a delivery (int64, sorted; insar_identifier_key) and the numbers of their points (int32), in network order, 4,096 a row.';

-- The key of an identifier, the same as domain.insar.identifier_keys: bytes in words of eight, little-endian, each mixed in by SplitMix64's finisher.
CREATE FUNCTION insar_identifier_key(identifier text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    whole  constant numeric := 18446744073709551616;
    body   constant bytea := convert_to(identifier, 'UTF8');
    key    bit(64) := x'9E3779B97F4A7C15';
    word   bit(64);
    place  integer := 0;
    octet  integer;
BEGIN
    WHILE place < octet_length(body) LOOP
        word := repeat('0', 64)::bit(64);
        FOR octet IN REVERSE least(place + 7, octet_length(body) - 1) .. place LOOP
            word := (word << 8) | get_byte(body, octet)::bit(64);
        END LOOP;
        key := key # word;
        key := insar_times(key, 13787848793156543929, whole);
        key := key # (key >> 29);
        key := insar_times(key, 10723151780598845931, whole);
        key := key # (key >> 32);
        place := place + 8;
    END LOOP;
    RETURN key::bigint;
END
$$;

CREATE FUNCTION insar_times(factor bit(64), other numeric, whole numeric) RETURNS bit(64) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN product >= whole / 2 THEN product - whole ELSE product END::bigint::bit(64)
    FROM (SELECT ((CASE WHEN factor::bigint < 0 THEN factor::bigint + whole ELSE factor::bigint END) * other) % whole AS product) AS made
$$;

UPDATE insar_tile AS tile SET positions = packed.positions, identifiers = packed.identifiers
FROM (SELECT delivery_id, point_no / 4096 AS tile_no,
             string_agg(float8send(position[0]), ''::bytea ORDER BY point_no)
             || string_agg(float8send(position[1]), ''::bytea ORDER BY point_no) AS positions,
             string_agg(convert_to(pid, 'UTF8') || decode(repeat('00', width - octet_length(pid)), 'hex'), ''::bytea
                        ORDER BY point_no) AS identifiers
      FROM (SELECT delivery_id, point_no, position, pid,
                   max(octet_length(pid)) OVER (PARTITION BY delivery_id, point_no / 4096) AS width FROM insar_point) AS padded
      GROUP BY delivery_id, point_no / 4096) AS packed
WHERE tile.delivery_id = packed.delivery_id AND tile.tile_no = packed.tile_no;

INSERT INTO insar_directory (delivery_id, first_key, keys, numbers)
SELECT delivery_id, min(key), string_agg(int8send(key), ''::bytea ORDER BY key), string_agg(int4send(point_no), ''::bytea ORDER BY key)
FROM (SELECT delivery_id, point_no, key, (row_number() OVER (PARTITION BY delivery_id ORDER BY key) - 1) / 4096 AS block
      FROM (SELECT delivery_id, point_no, insar_identifier_key(pid) AS key FROM insar_point) AS keyed) AS placed
GROUP BY delivery_id, block;

DROP FUNCTION insar_identifier_key(text), insar_times(bit, numeric, numeric);

ALTER TABLE insar_tile ALTER COLUMN positions SET NOT NULL, ALTER COLUMN identifiers SET NOT NULL,
    ADD CONSTRAINT blocks_have_every_point CHECK (octet_length(positions) = 16 * points AND octet_length(identifiers) % points = 0
                                                  AND octet_length(identifiers) > 0);

CREATE OR REPLACE FUNCTION insar_begin_loading() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(577215664);
    CREATE TABLE insar_tile_loading (LIKE insar_tile INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);
END
$$;

CREATE OR REPLACE FUNCTION insar_finish_loading(delivery integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := 'insar_tile_' || delivery;
BEGIN
    EXECUTE format('ALTER TABLE insar_tile_loading RENAME TO %I', part);
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT one_delivery CHECK (delivery_id = %s)', part, delivery);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (delivery_id, tile_no)', part);
    EXECUTE format('CREATE INDEX ON %I USING gist (bounds)', part);
    EXECUTE format('ALTER TABLE insar_tile ATTACH PARTITION %I FOR VALUES IN (%s)', part, delivery);
END
$$;

DROP TABLE insar_point;
