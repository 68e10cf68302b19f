-- name: lock_licence
SELECT pg_advisory_xact_lock(2178309, hashtext(%s));

-- name: node_day
-- Today in the node's zone.
SELECT (clock_timestamp() AT TIME ZONE coalesce((SELECT zone FROM node), 'Asia/Shanghai'))::date;

-- name: add_licence_version
INSERT INTO licence (code, station_id, holder, valid_from, valid_to, quota_m3_per_a, quota_m3_per_d, licence_year_start,
                     reinjection_ratio, drawdown_limit_m, source, attributes, effective_from, ledger_seq)
SELECT %(code)s, id, %(holder)s, %(valid_from)s, %(valid_to)s, %(quota_m3_per_a)s, %(quota_m3_per_d)s, %(licence_year_start)s,
       %(reinjection_ratio)s, %(drawdown_limit_m)s, %(source)s, %(attributes)s, %(effective_from)s,
       ledger_append('configuration', 'licence:' || %(code)s)
FROM station WHERE lower(code) = lower(%(station)s)
RETURNING code;

-- name: licences
-- Every version of a licence with the day on which the next one begins; of those that begin on one day the one recorded last counts.
SELECT code, station, holder, valid_from, valid_to, quota_m3_per_a, quota_m3_per_d, licence_year_start, reinjection_ratio,
       drawdown_limit_m, source, attributes, effective_from,
       lead(effective_from) OVER (PARTITION BY code ORDER BY effective_from) AS superseded_on
FROM (
    SELECT DISTINCT ON (licence.code, effective_from) licence.code, station.code AS station, holder, valid_from, valid_to, quota_m3_per_a,
           quota_m3_per_d, licence_year_start, reinjection_ratio, drawdown_limit_m, source, licence.attributes, effective_from
    FROM licence JOIN station ON station.id = licence.station_id
    WHERE (%(station)s::text IS NULL OR lower(station.code) = lower(%(station)s)) AND (%(code)s::text IS NULL OR licence.code = %(code)s)
    ORDER BY licence.code, effective_from, licence.ledger_seq DESC
) AS version
ORDER BY valid_from, code, effective_from;

-- name: leaves_work
-- A licence changes what rules make of all that was observed at its stations.
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
SELECT 'evaluate', status.datastream_id, status.first_time, status.last_time
FROM datastream_status AS status
JOIN datastream AS stream ON stream.id = status.datastream_id
JOIN station ON station.id = stream.station_id
WHERE status.first_time IS NOT NULL AND lower(station.code) = ANY (SELECT lower(code) FROM unnest(%s::text[]) AS code);
