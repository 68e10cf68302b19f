-- name: lock_limit
SELECT pg_advisory_xact_lock(3524578, hashtext(%s));

-- name: versions_of
-- The versions of a limit as they were stated; of those that begin on one day the one recorded last counts.
SELECT DISTINCT ON (coalesce(effective_from, '-infinity')) code, property_code, unit, value, kind, level, zone_code, aquifer,
       station_code AS station, source, effective_from, effective_to
FROM control_limit WHERE code = %s ORDER BY coalesce(effective_from, '-infinity'), id DESC;

-- name: add_version
INSERT INTO control_limit (code, property_code, unit, value, kind, level, zone_code, aquifer, station_code, source, effective_from,
                           effective_to, ledger_seq)
VALUES (%(code)s, %(property_code)s, %(unit)s, %(value)s, %(kind)s, %(level)s, %(zone_code)s, %(aquifer)s, %(station)s, %(source)s,
        %(effective_from)s, %(effective_to)s, ledger_append('configuration', 'limit:' || %(code)s));

-- name: limits
-- Every version, most general first; each ends where it says, or where the next one of its code begins. One without zone, aquifer or
-- station applies everywhere.
SELECT code, property_code, unit, value, kind, level, zone_code, aquifer, station, source, effective_from,
       least(effective_to, lead(effective_from) OVER (PARTITION BY code ORDER BY effective_from NULLS FIRST)) AS effective_to
FROM (
    SELECT DISTINCT ON (code, coalesce(effective_from, '-infinity')) code, property_code, unit, value, kind, level, zone_code, aquifer,
           station_code AS station, source, effective_from, effective_to
    FROM control_limit ORDER BY code, coalesce(effective_from, '-infinity'), id DESC
) AS version
ORDER BY (station IS NOT NULL), (aquifer IS NOT NULL), (zone_code IS NOT NULL), code, effective_from NULLS FIRST;

-- name: leaves_work
-- A limit changes what rules and forecasts make of all observations that it applies to.
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
SELECT work.kind, status.datastream_id, status.first_time, status.last_time
FROM datastream_status AS status
JOIN datastream AS stream ON stream.id = status.datastream_id
JOIN observed_property AS property ON property.id = stream.property_id
JOIN station ON station.id = stream.station_id
CROSS JOIN unnest(ARRAY['evaluate', 'analyse']) AS work (kind)
WHERE status.first_time IS NOT NULL AND property.code = %(property_code)s AND (work.kind = 'evaluate' OR NOT stream.derived)
  AND (%(zone_code)s::text IS NULL OR station.zone_code = %(zone_code)s)
  AND (%(aquifer)s::text IS NULL OR stream.aquifer = %(aquifer)s)
  AND (%(station)s::text IS NULL OR lower(station.code) = lower(%(station)s));
