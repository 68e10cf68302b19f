-- name: setting
SELECT zone, edition FROM rollup_setting;

-- name: claim
DELETE FROM work_item WHERE id IN (
    SELECT id FROM work_item WHERE kind = 'rollup' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING datastream_id, time_from, time_to;

-- name: lock_datastreams
-- Two workers with items of one datastream refresh it one after the other.
SELECT pg_advisory_xact_lock(1732050807, key) FROM unnest(%s::integer[]) AS key;

-- name: upsert_1h
INSERT INTO observation_1h (datastream_id, bucket, n, n_good, mean, min, max, sum, first, last)
SELECT datastream_id, time_bucket('1 hour', phenomenon_time, 'UTC') AS bucket, count(*),
       count(result) FILTER (WHERE quality IN (1, 2)), avg(result) FILTER (WHERE quality IN (1, 2)),
       min(result) FILTER (WHERE quality IN (1, 2)), max(result) FILTER (WHERE quality IN (1, 2)),
       sum(result) FILTER (WHERE quality IN (1, 2)), first(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)),
       last(result, phenomenon_time) FILTER (WHERE quality IN (1, 2))
FROM observation
WHERE datastream_id = %(datastream_id)s
  AND phenomenon_time >= time_bucket('1 hour', %(time_from)s::timestamptz, 'UTC')
  AND phenomenon_time < time_bucket('1 hour', %(time_to)s::timestamptz, 'UTC') + interval '1 hour'
GROUP BY 1, 2
ON CONFLICT (datastream_id, bucket) DO UPDATE SET n = excluded.n, n_good = excluded.n_good, mean = excluded.mean, min = excluded.min,
    max = excluded.max, sum = excluded.sum, first = excluded.first, last = excluded.last;

-- name: upsert_1d
-- The end of the last day is found in the zone's own clock: a day of a change of summer time has 23 or 25 hours.
INSERT INTO observation_1d (datastream_id, bucket, n, n_good, mean, min, max, sum, first, last)
SELECT datastream_id, time_bucket('1 day', phenomenon_time, %(zone)s) AS bucket, count(*),
       count(result) FILTER (WHERE quality IN (1, 2)), avg(result) FILTER (WHERE quality IN (1, 2)),
       min(result) FILTER (WHERE quality IN (1, 2)), max(result) FILTER (WHERE quality IN (1, 2)),
       sum(result) FILTER (WHERE quality IN (1, 2)), first(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)),
       last(result, phenomenon_time) FILTER (WHERE quality IN (1, 2))
FROM observation
WHERE datastream_id = %(datastream_id)s
  AND phenomenon_time >= time_bucket('1 day', %(time_from)s::timestamptz, %(zone)s)
  AND phenomenon_time < (((%(time_to)s::timestamptz AT TIME ZONE %(zone)s)::date + 1)::timestamp AT TIME ZONE %(zone)s)
GROUP BY 1, 2
ON CONFLICT (datastream_id, bucket) DO UPDATE SET n = excluded.n, n_good = excluded.n_good, mean = excluded.mean, min = excluded.min,
    max = excluded.max, sum = excluded.sum, first = excluded.first, last = excluded.last;

-- name: upsert_1mo
INSERT INTO observation_1mo (datastream_id, bucket, n, n_good, mean, min, max, sum, first, last)
SELECT datastream_id, time_bucket('1 month', phenomenon_time, %(zone)s) AS bucket, count(*),
       count(result) FILTER (WHERE quality IN (1, 2)), avg(result) FILTER (WHERE quality IN (1, 2)),
       min(result) FILTER (WHERE quality IN (1, 2)), max(result) FILTER (WHERE quality IN (1, 2)),
       sum(result) FILTER (WHERE quality IN (1, 2)), first(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)),
       last(result, phenomenon_time) FILTER (WHERE quality IN (1, 2))
FROM observation
WHERE datastream_id = %(datastream_id)s
  AND phenomenon_time >= time_bucket('1 month', %(time_from)s::timestamptz, %(zone)s)
  AND phenomenon_time < (date_trunc('month', %(time_to)s::timestamptz AT TIME ZONE %(zone)s) + interval '1 month') AT TIME ZONE %(zone)s
GROUP BY 1, 2
ON CONFLICT (datastream_id, bucket) DO UPDATE SET n = excluded.n, n_good = excluded.n_good, mean = excluded.mean, min = excluded.min,
    max = excluded.max, sum = excluded.sum, first = excluded.first, last = excluded.last;

-- name: refresh_1h
CALL refresh_continuous_aggregate('observation_1h', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_1d
CALL refresh_continuous_aggregate('observation_1d', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_1mo
CALL refresh_continuous_aggregate('observation_1mo', %(start)s::timestamptz, %(end)s::timestamptz);
