-- name: lock_datastream
-- The same lock that a commit takes, so that flags are judged on what they are written beside.
SELECT pg_advisory_xact_lock(1618033988, %s);

-- name: reach
-- The span of a change, widened by the tests' memory and to so many neighbours on both sides, for series whose samples are days apart.
SELECT least(%(start)s::timestamptz - %(memory)s::interval, coalesce((
           SELECT min(phenomenon_time) FROM (
               SELECT phenomenon_time FROM observation
               WHERE datastream_id = %(datastream_id)s AND phenomenon_time < %(start)s ORDER BY phenomenon_time DESC LIMIT %(neighbours)s) AS before),
           %(start)s)),
       greatest(%(end)s::timestamptz + %(memory)s::interval, coalesce((
           SELECT max(phenomenon_time) FROM (
               SELECT phenomenon_time FROM observation
               WHERE datastream_id = %(datastream_id)s AND phenomenon_time > %(end)s ORDER BY phenomenon_time LIMIT %(neighbours)s) AS after),
           %(end)s));

-- name: reach_many
-- As reach, for many datastreams at once.
SELECT wanted.id,
       least(wanted.start - wanted.memory, coalesce(before.time, wanted.start)),
       greatest(wanted.stop + wanted.memory, coalesce(after.time, wanted.stop))
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(memories)s::interval[])
     AS wanted (id, start, stop, memory),
LATERAL (SELECT min(phenomenon_time) AS time FROM (
    SELECT phenomenon_time FROM observation
    WHERE datastream_id = wanted.id AND phenomenon_time < wanted.start ORDER BY phenomenon_time DESC LIMIT %(neighbours)s) AS three) AS before,
LATERAL (SELECT max(phenomenon_time) AS time FROM (
    SELECT phenomenon_time FROM observation
    WHERE datastream_id = wanted.id AND phenomenon_time > wanted.stop ORDER BY phenomenon_time LIMIT %(neighbours)s) AS three) AS after;

-- name: pack_windows
-- The windows of many datastreams; the bounds of them all let the planner leave chunks out.
SELECT known.datastream_id,
       string_agg(timestamptz_send(phenomenon_time) || timestamptz_send(received_at) || float8send(coalesce(result, 'NaN'))
                  || int2send(quality) || int2send(coalesce(source_quality, quality)), ''::bytea ORDER BY phenomenon_time)
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS wanted (id, start, stop)
JOIN observation AS known ON known.datastream_id = wanted.id AND known.phenomenon_time BETWEEN wanted.start AND wanted.stop
WHERE known.phenomenon_time BETWEEN %(least)s AND %(greatest)s AND known.datastream_id = ANY (%(ids)s)
GROUP BY known.datastream_id;

-- name: reasons_of_windows
SELECT known.datastream_id, phenomenon_time, quality_reasons,
       CASE WHEN source_quality IS NULL THEN quality_reasons ELSE source_reasons END AS source_reasons
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS wanted (id, start, stop)
JOIN observation AS known ON known.datastream_id = wanted.id AND known.phenomenon_time BETWEEN wanted.start AND wanted.stop
WHERE known.phenomenon_time BETWEEN %(least)s AND %(greatest)s AND known.datastream_id = ANY (%(ids)s)
  AND (quality_reasons IS NOT NULL OR source_reasons IS NOT NULL);

-- name: overrides_of_windows
SELECT datastream_id, time_from, time_to, quality FROM quality_override
JOIN unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS wanted (id, start, stop)
  ON datastream_id = wanted.id
WHERE withdrawn_at IS NULL AND time_from <= wanted.stop AND time_to > wanted.start ORDER BY quality_override.id;

-- name: pack_window
SELECT string_agg(timestamptz_send(phenomenon_time) || timestamptz_send(received_at) || float8send(coalesce(result, 'NaN'))
                  || int2send(quality) || int2send(coalesce(source_quality, quality)), ''::bytea)
FROM (
    SELECT phenomenon_time, received_at, result, quality, source_quality FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time BETWEEN %(start)s AND %(end)s
    ORDER BY phenomenon_time
) AS known;

-- name: window_reasons
-- Only the rows that have reasons, of the source's or ours.
SELECT phenomenon_time, quality_reasons, CASE WHEN source_quality IS NULL THEN quality_reasons ELSE source_reasons END AS source_reasons
FROM observation
WHERE datastream_id = %(datastream_id)s AND phenomenon_time BETWEEN %(start)s AND %(end)s
  AND (quality_reasons IS NOT NULL OR source_reasons IS NOT NULL);

-- name: keep_revisions
INSERT INTO observation_revision (datastream_id, phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time,
                                  received_at, batch_id, superseded_by)
SELECT stored.datastream_id, stored.phenomenon_time, stored.phenomenon_end, stored.result, stored.sigma, stored.quality,
       stored.quality_reasons, stored.result_time, stored.received_at, stored.batch_id, %(batch_id)s
FROM unnest(%(times)s::timestamptz[]) AS changed (phenomenon_time)
JOIN observation AS stored USING (phenomenon_time)
WHERE stored.datastream_id = %(datastream_id)s AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s;

-- name: change_flags
-- The result, its sigma and when it was received stay as they are.
UPDATE observation AS stored
SET source_quality = CASE WHEN changed.as_source THEN NULL ELSE coalesce(stored.source_quality, stored.quality) END,
    source_reasons = CASE WHEN changed.as_source THEN NULL
                          WHEN stored.source_quality IS NULL THEN stored.quality_reasons ELSE stored.source_reasons END,
    quality = changed.quality, quality_reasons = string_to_array(changed.reasons, ','), batch_id = %(batch_id)s
FROM unnest(%(times)s::timestamptz[], %(qualities)s::smallint[], %(reasons)s::text[], %(as_source)s::boolean[])
     AS changed (phenomenon_time, quality, reasons, as_source)
WHERE stored.datastream_id = %(datastream_id)s AND stored.phenomenon_time = changed.phenomenon_time
  AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s;

-- name: refresh_status
UPDATE datastream_status AS status SET last_quality = newest.quality
FROM (SELECT quality FROM observation WHERE datastream_id = %(datastream_id)s ORDER BY phenomenon_time DESC LIMIT 1) AS newest
WHERE status.datastream_id = %(datastream_id)s AND status.last_quality IS DISTINCT FROM newest.quality;

-- name: insert_override
INSERT INTO quality_override (datastream_id, time_from, time_to, quality, reason, actor, ledger_seq)
VALUES (%(datastream_id)s, %(start)s, %(end)s, %(quality)s, %(reason)s, %(actor)s, ledger_append('override', %(reference)s))
RETURNING id, recorded_at;

-- name: withdraw_override
UPDATE quality_override SET withdrawn_at = clock_timestamp(), withdrawn_by = %(actor)s, ledger_seq = ledger_append('override', 'withdrawn:' || id)
WHERE id = %(id)s AND withdrawn_at IS NULL
RETURNING datastream_id, time_from, time_to;

-- name: leave_work
-- Whoever dies between the override and its flags leaves the work to a worker.
INSERT INTO work_item (kind, datastream_id, time_from, time_to) VALUES ('quality', %(datastream_id)s, %(start)s, %(end)s);

-- name: overrides
SELECT override.id, stream.code AS datastream, override.datastream_id, time_from, time_to, quality, reason, actor, override.recorded_at,
       withdrawn_at, withdrawn_by, override.ledger_seq
FROM quality_override AS override JOIN datastream AS stream ON stream.id = override.datastream_id
WHERE (%(datastream_id)s::integer IS NULL OR override.datastream_id = %(datastream_id)s) AND override.id > %(after)s
  AND (%(withdrawn)s OR withdrawn_at IS NULL)
ORDER BY override.id LIMIT %(limit)s;

-- name: standing_overrides
SELECT time_from, time_to, quality FROM quality_override
WHERE datastream_id = %(datastream_id)s AND withdrawn_at IS NULL AND time_from <= %(end)s AND time_to > %(start)s ORDER BY id;

-- name: uncompensated_by
-- Unvented sensors whose air is this barometer's.
SELECT id FROM datastream WHERE lower(attributes ->> 'barometer') = lower(%s) AND NOT derived;

-- name: reason_counts
SELECT reason, count(*) FROM observation, unnest(quality_reasons) AS reason
WHERE datastream_id = ANY (%(ids)s) AND phenomenon_time >= %(start)s GROUP BY reason ORDER BY count(*) DESC, reason;

-- name: health_rows
-- Each datastream's newest observation, and how many came and are usable in the window. What is flagged for the air alone, and from which a
-- barometer has taken it, is usable: there its compensated value is. What a clock that is ahead dated has come, too.
SELECT stream.id AS datastream_id, stream.code AS datastream, station.code AS station, property.code AS property_code, stream.interval_s,
       status.first_time, status.last_time, status.last_received_at, status.last_result, coalesce(counted.n, 0) AS n,
       coalesce(counted.n_good, 0) AS n_good
FROM datastream AS stream
JOIN station ON station.id = stream.station_id
JOIN observed_property AS property ON property.id = stream.property_id
LEFT JOIN datastream_status AS status ON status.datastream_id = stream.id
LEFT JOIN datastream AS airless ON airless.source_datastream_id = stream.id AND airless.method = 'barometric'
LEFT JOIN LATERAL (
    SELECT count(*) AS n, count(*) FILTER (WHERE seen.quality IN (1, 2) OR freed.quality IN (1, 2)) AS n_good
    FROM observation AS seen LEFT JOIN observation AS freed
        ON freed.datastream_id = airless.id AND freed.phenomenon_time = seen.phenomenon_time
        AND freed.phenomenon_time >= %(start)s AND freed.phenomenon_time < %(now)s::timestamptz + interval '1 day'
        AND seen.quality_reasons = ARRAY['uncompensated']
    WHERE seen.datastream_id = stream.id AND seen.phenomenon_time >= %(start)s
        AND seen.phenomenon_time < %(now)s::timestamptz + interval '1 day') AS counted ON true
WHERE NOT stream.derived AND (%(stations)s::text[] IS NULL OR station.code = ANY (%(stations)s))
ORDER BY station.code, stream.code;

-- name: receipts
-- When the newest observations were made and when they were received: by device or by message, not by file. What was judged or
-- overridden since (and so is of that batch) keeps its time of receipt; of a file that is one for all, which says nothing.
SELECT observation.phenomenon_time, observation.received_at
FROM observation JOIN ingest_batch AS batch ON batch.id = observation.batch_id
WHERE datastream_id = ANY (%(ids)s) AND phenomenon_time >= %(start)s AND phenomenon_time < %(now)s::timestamptz + interval '1 day'
  AND batch.source_kind IN ('mqtt', 'http', 'tcp', 'quality', 'override')
ORDER BY phenomenon_time DESC LIMIT %(limit)s;
