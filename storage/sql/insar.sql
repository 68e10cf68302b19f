-- InSAR deliveries, their points and tiles, and the results of analyses.

-- name: same_delivery
-- The same bytes, read in the same way, for the same datastream.
SELECT code, version, points, batch_id, ledger_seq FROM insar_delivery
WHERE datastream_id = %(datastream_id)s AND sha256 = %(sha256)s AND parameters = %(parameters)s::jsonb;

-- name: known_size
-- A file of as many bytes, read in the same way, for the same datastream.
SELECT 1 FROM insar_delivery AS delivery JOIN raw_payload AS raw ON raw.batch_id = delivery.batch_id
WHERE delivery.datastream_id = %(datastream_id)s AND raw.size = %(size)s AND delivery.parameters = %(parameters)s::jsonb LIMIT 1;

-- name: taken_code
SELECT 1 FROM insar_delivery WHERE lower(code) = lower(%s);

-- name: begin_loading
SELECT insar_begin_loading();

-- name: copy_tiles
-- The table was made in this transaction: rows may be frozen at once, so that nothing has to write them again later.
COPY insar_tile_loading (delivery_id, tile_no, points, bounds, longitude, latitude, positions, identifiers, attributes, displacement)
FROM STDIN (FORMAT binary, FREEZE);

-- name: copy_directory
COPY insar_directory (delivery_id, first_key, keys, numbers) FROM STDIN (FORMAT binary);

-- name: finish_loading
SELECT insar_finish_loading(%s);

-- name: next_delivery_id
SELECT nextval(pg_get_serial_sequence('insar_delivery', 'id'))::integer;

-- name: next_version
SELECT coalesce(max(version), 0) + 1 FROM insar_delivery WHERE datastream_id = %s;

-- name: close_batch
-- The ledger's lock comes last and is held to the end of the transaction.
UPDATE ingest_batch SET accepted = %(points)s, ledger_seq = ledger_append('batch', id::text)
WHERE id = %(batch_id)s RETURNING ledger_seq;

-- name: insert_delivery
INSERT INTO insar_delivery (id, code, datastream_id, version, track, heading_deg, incidence_deg, source_positive, epochs, attributes,
                            reference, points, tiles, bounds, source, sha256, profile, parameters, actor, batch_id, ledger_seq)
OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(code)s, %(datastream_id)s, %(version)s, %(track)s, %(heading_deg)s, %(incidence_deg)s, %(source_positive)s,
        %(epochs)s::timestamptz[], %(attributes)s::text[], %(reference)s, %(points)s, %(tiles)s, %(bounds)s::text::box, %(source)s,
        %(sha256)s, %(profile)s, %(parameters)s, %(actor)s, %(batch_id)s, %(ledger_seq)s);

-- name: supersede
UPDATE insar_delivery SET superseded_by = %(id)s
WHERE datastream_id = %(datastream_id)s AND id <> %(id)s AND superseded_by IS NULL;

-- name: deliveries
SELECT delivery.id AS delivery_id, delivery.code, datastream.code AS datastream, station.code AS station, delivery.version,
       newer.code AS superseded_by, delivery.track, delivery.heading_deg, delivery.incidence_deg, delivery.source_positive,
       delivery.epochs, delivery.attributes, delivery.reference, delivery.points, delivery.tiles,
       (delivery.bounds[1])[0] AS west, (delivery.bounds[1])[1] AS south, (delivery.bounds[0])[0] AS east,
       (delivery.bounds[0])[1] AS north, delivery.source, delivery.sha256, delivery.profile, delivery.parameters, delivery.actor,
       delivery.imported_at, delivery.batch_id, delivery.ledger_seq
FROM insar_delivery AS delivery
JOIN datastream ON datastream.id = delivery.datastream_id JOIN station ON station.id = datastream.station_id
LEFT JOIN insar_delivery AS newer ON newer.id = delivery.superseded_by
WHERE (%(code)s::text IS NULL OR lower(delivery.code) = lower(%(code)s)) AND delivery.id > %(after)s
ORDER BY delivery.id LIMIT %(limit)s;

-- name: tile_positions
-- Positions of the tiles that a box touches, from one tile on.
SELECT tile_no, points, longitude, latitude FROM insar_tile
WHERE delivery_id = %(delivery_id)s AND tile_no >= %(first)s AND bounds && %(box)s::text::box ORDER BY tile_no LIMIT %(limit)s;

-- name: tiles_of_points
-- All that is said of points beside their series, of whole tiles.
SELECT tile_no, points, positions, identifiers, attributes FROM insar_tile
WHERE delivery_id = %(delivery_id)s AND tile_no = ANY (%(tiles)s) ORDER BY tile_no;

-- name: attribute_names
SELECT attributes FROM insar_delivery WHERE id = %s;

-- name: directory
-- The keys among which one must be.
SELECT keys, numbers FROM insar_directory
WHERE delivery_id = %(delivery_id)s AND first_key <= %(key)s ORDER BY first_key DESC LIMIT 1;

-- name: identifiers
-- Identifiers of some tiles.
SELECT tile_no, points, identifiers FROM insar_tile
WHERE delivery_id = %(delivery_id)s AND tile_no >= %(first)s AND tile_no <= %(last)s ORDER BY tile_no;

-- name: series
-- One point's displacement at each epoch, cut out of its tile: two kilobytes are read an epoch.
SELECT string_agg(substring(tile.displacement FROM 4 * (epoch * tile.points + %(place)s) + 1 FOR 4), ''::bytea ORDER BY epoch)
FROM insar_tile AS tile, generate_series(0, octet_length(tile.displacement) / (4 * tile.points) - 1) AS epoch
WHERE tile.delivery_id = %(delivery_id)s AND tile.tile_no = %(tile_no)s;

-- name: attributes_of_point
SELECT string_agg(substring(tile.attributes FROM 4 * (number * tile.points + %(place)s) + 1 FOR 4), ''::bytea ORDER BY number)
FROM insar_tile AS tile, generate_series(0, octet_length(tile.attributes) / (4 * tile.points) - 1) AS number
WHERE tile.delivery_id = %(delivery_id)s AND tile.tile_no = %(tile_no)s;

-- name: map_of_epoch
SELECT tile_no, points, longitude, latitude, substring(displacement FROM 4 * %(number)s * points + 1 FOR 4 * points)
FROM insar_tile WHERE delivery_id = %(delivery_id)s AND bounds && %(box)s::text::box ORDER BY tile_no;

-- name: map_of_attribute
SELECT tile_no, points, longitude, latitude, substring(attributes FROM 4 * %(number)s * points + 1 FOR 4 * points)
FROM insar_tile WHERE delivery_id = %(delivery_id)s AND bounds && %(box)s::text::box ORDER BY tile_no;

-- name: map_of_result
SELECT tile.tile_no, tile.points, longitude, latitude,
       substring(result.results FROM 4 * %(number)s * result.points + 1 FOR 4 * result.points)
FROM insar_tile AS tile JOIN insar_run_tile AS result ON result.run_id = %(run_id)s AND result.tile_no = tile.tile_no
WHERE delivery_id = %(delivery_id)s AND bounds && %(box)s::text::box ORDER BY tile.tile_no;

-- name: tile_series
-- Whole tiles, for analyses.
SELECT tile_no, points, displacement FROM insar_tile
WHERE delivery_id = %(delivery_id)s AND tile_no >= %(first)s ORDER BY tile_no LIMIT %(limit)s;

-- name: insert_run
-- Comes after the run's tiles, because the ledger's lock comes last.
INSERT INTO insar_run (id, delivery_id, method, version, parameters, columns, units, input_digest, summary, actor, ledger_seq)
OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(delivery_id)s, %(method)s, %(version)s, %(parameters)s, %(columns)s::text[], %(units)s::text[], %(input_digest)s,
        %(summary)s, %(actor)s, ledger_append('run', %(reference)s))
RETURNING ledger_seq;

-- name: next_run_id
SELECT nextval(pg_get_serial_sequence('insar_run', 'id'))::integer;

-- name: insert_run_tile
INSERT INTO insar_run_tile (run_id, tile_no, points, results) VALUES (%(run_id)s, %(tile_no)s, %(points)s, %(results)s);

-- name: runs
SELECT id AS run_id, delivery_id, method, version, parameters, columns, units, input_digest, summary, actor, created_at, ledger_seq
FROM insar_run WHERE delivery_id = %(delivery_id)s ORDER BY id DESC LIMIT %(limit)s;

-- name: run_by_id
SELECT run.id AS run_id, run.delivery_id, run.method, run.version, run.parameters, run.columns, run.units, run.input_digest, run.summary, run.actor,
       run.created_at, run.ledger_seq, delivery.code
FROM insar_run AS run JOIN insar_delivery AS delivery ON delivery.id = run.delivery_id WHERE run.id = %s;

-- name: run_tile
SELECT results FROM insar_run_tile WHERE run_id = %(run_id)s AND tile_no = %(tile_no)s;

-- name: results_of_point
SELECT string_agg(substring(results FROM 4 * (number * points + %(place)s) + 1 FOR 4), ''::bytea ORDER BY number)
FROM insar_run_tile, generate_series(0, octet_length(results) / (4 * points) - 1) AS number
WHERE run_id = %(run_id)s AND tile_no = %(tile_no)s;
