-- name: property_by_code
SELECT code, name_zh, name_en, unit, direction, value_kind, needs_datum, lowest, highest FROM observed_property WHERE code = %s;

-- name: list_properties
SELECT code, name_zh, name_en, unit, direction, value_kind, needs_datum, lowest, highest FROM observed_property ORDER BY code;

-- name: upsert_property
-- The unit of a property is what its datastreams are compared by: it never changes once it is there.
INSERT INTO observed_property (code, name_zh, name_en, unit, direction, value_kind, needs_datum, lowest, highest)
VALUES (%(code)s, %(name_zh)s, %(name_en)s, %(unit)s, %(direction)s, %(value_kind)s, %(needs_datum)s, %(lowest)s, %(highest)s)
ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, unit = excluded.unit,
    direction = excluded.direction, value_kind = excluded.value_kind, needs_datum = excluded.needs_datum, lowest = excluded.lowest,
    highest = excluded.highest
WHERE (observed_property.name_zh, observed_property.name_en, observed_property.unit, observed_property.direction,
       observed_property.value_kind, observed_property.needs_datum, observed_property.lowest, observed_property.highest)
      IS DISTINCT FROM (excluded.name_zh, excluded.name_en, excluded.unit, excluded.direction, excluded.value_kind,
                        excluded.needs_datum, excluded.lowest, excluded.highest);

-- name: property_unit_in_use
SELECT property.unit, property.direction FROM observed_property AS property
WHERE property.code = %s AND EXISTS (SELECT FROM datastream WHERE datastream.property_id = property.id);

-- name: upsert_region
INSERT INTO region (code, name_zh, name_en, parent_code) VALUES (%(code)s, %(name_zh)s, %(name_en)s, %(parent_code)s)
ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, parent_code = excluded.parent_code;

-- name: regions
SELECT code, name_zh, name_en, parent_code FROM region ORDER BY code;

-- name: upsert_datum
INSERT INTO datum (code, name_zh, name_en, source) VALUES (%(code)s, %(name_zh)s, %(name_en)s, %(source)s)
ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, source = excluded.source;

-- name: datums
SELECT code, name_zh, name_en, source FROM datum ORDER BY code;

-- name: upsert_datum_offset
INSERT INTO datum_offset (source_datum, target_datum, region_prefix, offset_m, source, effective_from, effective_to)
VALUES (%(source_datum)s, %(target_datum)s, %(region_prefix)s, %(offset_m)s, %(source)s, %(effective_from)s, %(effective_to)s)
ON CONFLICT (source_datum, target_datum, region_prefix, effective_from)
DO UPDATE SET offset_m = excluded.offset_m, source = excluded.source, effective_to = excluded.effective_to;

-- name: datum_offsets
SELECT source_datum, target_datum, region_prefix, offset_m, source, effective_from, effective_to FROM datum_offset ORDER BY id;

-- name: set_node
INSERT INTO node (code, name_zh, name_en, region_code, zone, simulated, attributes)
VALUES (%(code)s, %(name_zh)s, %(name_en)s, %(region_code)s, %(zone)s, %(simulated)s, %(attributes)s)
ON CONFLICT (only_one) DO UPDATE SET code = excluded.code, name_zh = excluded.name_zh, name_en = excluded.name_en,
    region_code = excluded.region_code, zone = excluded.zone, simulated = excluded.simulated, attributes = excluded.attributes,
    updated_at = clock_timestamp();

-- name: ensure_rollups
SELECT ensure_rollups();

-- name: known_zone
SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %s);

-- name: node
SELECT code, name_zh, name_en, region_code, zone, simulated, attributes FROM node;

-- name: station_by_code
SELECT code, kind, name_zh, name_en, region_code, longitude_deg, latitude_deg, height_m, disclosure, zone_code, tags, confirmed,
       simulated, attributes, id AS station_id
FROM station WHERE lower(code) = lower(%s);

-- name: list_stations
SELECT code, kind, name_zh, name_en, region_code, longitude_deg, latitude_deg, height_m, disclosure, zone_code, tags, confirmed,
       simulated, attributes, id AS station_id
FROM station
WHERE code > %(after)s AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(region)s::text IS NULL OR region_code LIKE %(region)s || '%%')
ORDER BY code LIMIT %(limit)s;

-- name: insert_station
INSERT INTO station (code, kind, name_zh, name_en, region_code, longitude_deg, latitude_deg, height_m, disclosure, zone_code, tags,
                     confirmed, simulated, attributes, ledger_seq)
VALUES (%(code)s, %(kind)s, %(name_zh)s, %(name_en)s, %(region_code)s, %(longitude_deg)s, %(latitude_deg)s, %(height_m)s,
        %(disclosure)s, %(zone_code)s, %(tags)s, %(confirmed)s, %(simulated)s, %(attributes)s,
        ledger_append('configuration', 'station:' || %(code)s))
RETURNING id;

-- name: update_station
UPDATE station SET kind = %(kind)s, name_zh = %(name_zh)s, name_en = %(name_en)s, region_code = %(region_code)s,
    longitude_deg = %(longitude_deg)s, latitude_deg = %(latitude_deg)s, height_m = %(height_m)s, disclosure = %(disclosure)s,
    zone_code = %(zone_code)s, tags = %(tags)s, confirmed = %(confirmed)s, simulated = %(simulated)s, attributes = %(attributes)s,
    ledger_seq = ledger_append('configuration', 'station:' || code)
WHERE lower(code) = lower(%(code)s)
RETURNING id, code;

-- name: sensors
SELECT station.code AS station, sensor.code, model, serial, calibrated_on, calibration_due, calibration, datum_code, installed_at,
       removed_at, sensor.id AS sensor_id
FROM sensor JOIN station ON station.id = sensor.station_id
WHERE lower(station.code) = lower(%s) ORDER BY sensor.code;

-- name: sensors_of_stations
SELECT station.code AS station, sensor.code, model, serial, calibrated_on, calibration_due, calibration, datum_code, installed_at,
       removed_at, sensor.id AS sensor_id
FROM sensor JOIN station ON station.id = sensor.station_id
WHERE lower(station.code) = ANY (%s) ORDER BY station.code, sensor.code;

-- name: insert_sensor
INSERT INTO sensor (station_id, code, model, serial, calibrated_on, calibration_due, calibration, datum_code, installed_at, removed_at,
                    ledger_seq)
SELECT id, %(code)s, %(model)s, %(serial)s, %(calibrated_on)s, %(calibration_due)s, %(calibration)s, %(datum_code)s,
       %(installed_at)s, %(removed_at)s, ledger_append('configuration', 'sensor:' || code || ':' || %(code)s)
FROM station WHERE lower(code) = lower(%(station)s)
RETURNING id;

-- name: update_sensor
UPDATE sensor SET model = %(model)s, serial = %(serial)s, calibrated_on = %(calibrated_on)s, calibration_due = %(calibration_due)s,
    calibration = %(calibration)s, datum_code = %(datum_code)s, installed_at = %(installed_at)s, removed_at = %(removed_at)s,
    ledger_seq = ledger_append('configuration', 'sensor:' || station.code || ':' || sensor.code)
FROM station WHERE station.id = sensor.station_id AND lower(station.code) = lower(%(station)s) AND sensor.code = %(code)s
RETURNING sensor.id;

-- name: datastream_by_code
SELECT station.code AS station, property.code AS property_code, stream.unit, stream.channel, sensor.code AS sensor, stream.name_zh,
       stream.name_en, stream.interval_s, stream.depth_top_m, stream.depth_bottom_m, stream.aquifer, stream.datum_code,
       stream.datum_epoch, stream.frame, stream.derived, stream.method, stream.method_version, stream.method_parameters,
       stream.input_digest, stream.source_datastream_id, stream.confirmed, stream.disclosure, stream.lowest, stream.highest,
       stream.attributes, stream.id AS datastream_id
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN sensor ON sensor.id = stream.sensor_id
WHERE lower(stream.code) = lower(%s);

-- name: datastream_by_id
SELECT station.code AS station, property.code AS property_code, stream.unit, stream.channel, sensor.code AS sensor, stream.name_zh,
       stream.name_en, stream.interval_s, stream.depth_top_m, stream.depth_bottom_m, stream.aquifer, stream.datum_code,
       stream.datum_epoch, stream.frame, stream.derived, stream.method, stream.method_version, stream.method_parameters,
       stream.input_digest, stream.source_datastream_id, stream.confirmed, stream.disclosure, stream.lowest, stream.highest,
       stream.attributes, stream.id AS datastream_id
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN sensor ON sensor.id = stream.sensor_id
WHERE stream.id = %s;

-- name: list_datastreams
SELECT station.code AS station, property.code AS property_code, stream.unit, stream.channel, sensor.code AS sensor, stream.name_zh,
       stream.name_en, stream.interval_s, stream.depth_top_m, stream.depth_bottom_m, stream.aquifer, stream.datum_code,
       stream.datum_epoch, stream.frame, stream.derived, stream.method, stream.method_version, stream.method_parameters,
       stream.input_digest, stream.source_datastream_id, stream.confirmed, stream.disclosure, stream.lowest, stream.highest,
       stream.attributes, stream.id AS datastream_id
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN sensor ON sensor.id = stream.sensor_id
WHERE stream.code > %(after)s AND (%(station)s::text IS NULL OR lower(station.code) = lower(%(station)s))
  AND (%(property_code)s::text IS NULL OR property.code = %(property_code)s)
  AND (%(derived)s::boolean IS NULL OR stream.derived = %(derived)s)
ORDER BY stream.code LIMIT %(limit)s;

-- name: insert_datastream
INSERT INTO datastream (code, station_id, sensor_id, property_id, needs_datum, channel, name_zh, name_en, unit, interval_s, depth_top_m,
                        depth_bottom_m, aquifer, datum_code, datum_epoch, frame, lowest, highest, disclosure, confirmed, derived, method,
                        method_version, method_parameters, input_digest, source_datastream_id, attributes, ledger_seq)
SELECT %(code)s, station.id, sensor.id, property.id, property.needs_datum, %(channel)s, %(name_zh)s, %(name_en)s, %(unit)s,
       %(interval_s)s, %(depth_top_m)s, %(depth_bottom_m)s, %(aquifer)s, %(datum_code)s, %(datum_epoch)s, %(frame)s, %(lowest)s,
       %(highest)s, %(disclosure)s, %(confirmed)s, %(derived)s, %(method)s, %(method_version)s, %(method_parameters)s,
       %(input_digest)s, %(source_datastream_id)s, %(attributes)s, ledger_append('configuration', 'datastream:' || %(code)s)
FROM station
JOIN observed_property AS property ON property.code = %(property_code)s
LEFT JOIN sensor ON sensor.station_id = station.id AND sensor.code = %(sensor)s
WHERE lower(station.code) = lower(%(station)s)
RETURNING id;

-- name: update_datastream
-- What gives the stored numbers their meaning (unit, datum, property, derivation) is not among the columns.
UPDATE datastream SET name_zh = %(name_zh)s, name_en = %(name_en)s, interval_s = %(interval_s)s, depth_top_m = %(depth_top_m)s,
    depth_bottom_m = %(depth_bottom_m)s, aquifer = %(aquifer)s, frame = %(frame)s, lowest = %(lowest)s, highest = %(highest)s,
    disclosure = %(disclosure)s, confirmed = %(confirmed)s, attributes = %(attributes)s,
    ledger_seq = ledger_append('configuration', 'datastream:' || code)
WHERE lower(code) = lower(%(code)s)
RETURNING id;

-- name: events
SELECT station.code AS station, event.kind, starts_at AS start, ends_at AS end, effect, stream.code AS datastream, size, note, author,
       event.id AS event_id
FROM station_event AS event
JOIN station ON station.id = event.station_id
LEFT JOIN datastream AS stream ON stream.id = event.datastream_id
WHERE lower(station.code) = lower(%s) AND withdrawn_at IS NULL
ORDER BY starts_at, event.id;

-- name: event
-- One event that stands.
SELECT station.code AS station, event.kind, starts_at AS start, ends_at AS end, effect, stream.code AS datastream, size, note, author,
       event.id AS event_id
FROM station_event AS event
JOIN station ON station.id = event.station_id
LEFT JOIN datastream AS stream ON stream.id = event.datastream_id
WHERE event.id = %s AND withdrawn_at IS NULL;

-- name: insert_event
INSERT INTO station_event (station_id, datastream_id, kind, starts_at, ends_at, effect, size, note, author, ledger_seq)
SELECT station.id, stream.id, %(kind)s, %(start)s, %(end)s, %(effect)s, %(size)s, %(note)s, %(author)s,
       ledger_append('event', 'station:' || station.code)
FROM station LEFT JOIN datastream AS stream ON stream.station_id = station.id AND lower(stream.code) = lower(%(datastream)s)
WHERE lower(station.code) = lower(%(station)s)
RETURNING id;

-- name: withdraw_event
UPDATE station_event SET withdrawn_at = clock_timestamp(), ledger_seq = ledger_append('event', 'withdrawn:' || id)
WHERE id = %s AND withdrawn_at IS NULL
RETURNING station_id, datastream_id;

-- name: event_leaves_work
-- An event changes what analytics and rules make of all observations of its datastreams.
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
SELECT kind, status.datastream_id, status.first_time, status.last_time
FROM datastream_status AS status JOIN datastream AS stream ON stream.id = status.datastream_id, unnest(ARRAY['analyse', 'quality']) AS kind
WHERE stream.station_id = %(station_id)s AND (%(datastream_id)s::integer IS NULL OR stream.id = %(datastream_id)s)
  AND NOT stream.derived AND status.first_time IS NOT NULL;

-- name: event_scope
SELECT station_id, datastream_id FROM station_event WHERE id = %s;

-- name: statuses
SELECT datastream_id, last_time, last_result, last_quality, first_time, observations, last_received_at
FROM datastream_status WHERE datastream_id = ANY (%s);

-- name: read_one_snapshot
-- What follows in this transaction sees one state of the database.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: current_seq
SELECT coalesce(max(seq), 0) FROM ledger;

-- name: record_configuration
INSERT INTO configuration_version (name, digest, content, actor, ledger_seq)
SELECT %(name)s, %(digest)s, %(content)s, %(actor)s, ledger_append('configuration', 'version:' || %(name)s)
WHERE %(digest)s IS DISTINCT FROM (SELECT digest FROM configuration_version WHERE name = %(name)s ORDER BY id DESC LIMIT 1)
RETURNING id;

-- name: audit
SELECT audit_append(%s, %s, %s, %s);

-- name: notify
SELECT pg_notify('groundwatch_register', '');

-- name: notify_work
SELECT pg_notify('groundwatch_work', '');

-- name: datastreams_by_ids
SELECT station.code AS station, property.code AS property_code, stream.unit, stream.channel, sensor.code AS sensor, stream.name_zh,
       stream.name_en, stream.interval_s, stream.depth_top_m, stream.depth_bottom_m, stream.aquifer, stream.datum_code,
       stream.datum_epoch, stream.frame, stream.derived, stream.method, stream.method_version, stream.method_parameters,
       stream.input_digest, stream.source_datastream_id, stream.confirmed, stream.disclosure, stream.lowest, stream.highest,
       stream.attributes, stream.id AS datastream_id
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN sensor ON sensor.id = stream.sensor_id
WHERE stream.id = ANY (%s);

-- name: datastreams_of_stations
-- What devices of these stations may speak of.
SELECT station.code AS station, property.code AS property_code, stream.unit, stream.channel, sensor.code AS sensor, stream.name_zh,
       stream.name_en, stream.interval_s, stream.depth_top_m, stream.depth_bottom_m, stream.aquifer, stream.datum_code,
       stream.datum_epoch, stream.frame, stream.derived, stream.method, stream.method_version, stream.method_parameters,
       stream.input_digest, stream.source_datastream_id, stream.confirmed, stream.disclosure, stream.lowest, stream.highest,
       stream.attributes, stream.id AS datastream_id
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN sensor ON sensor.id = stream.sensor_id
WHERE lower(station.code) = ANY (%s) AND NOT stream.derived;

-- name: stations_by_codes
SELECT code, kind, name_zh, name_en, region_code, longitude_deg, latitude_deg, height_m, disclosure, zone_code, tags, confirmed,
       simulated, attributes, id AS station_id
FROM station WHERE lower(code) = ANY (%s);

-- name: events_of_stations
SELECT station.code AS station, event.kind, starts_at AS start, ends_at AS end, effect, stream.code AS datastream, size, note, author,
       event.id AS event_id
FROM station_event AS event
JOIN station ON station.id = event.station_id
LEFT JOIN datastream AS stream ON stream.id = event.datastream_id
WHERE lower(station.code) = ANY (%s) AND withdrawn_at IS NULL
ORDER BY starts_at, event.id;

-- name: register_mark
-- The ledger numbers changes in the order of their commits: the newest number tells whether a station, sensor, datastream or event changed.
SELECT coalesce(max(seq), 0) FROM ledger WHERE kind IN ('configuration', 'event');
