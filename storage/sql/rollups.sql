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
-- Of many datastreams at once; the bounds of all spans let the planner leave chunks out.
INSERT INTO observation_1h (datastream_id, bucket, n, n_good, mean, min, max, sum, first, last)
SELECT datastream_id, time_bucket('1 hour', phenomenon_time, 'UTC') AS bucket, count(*),
       count(result) FILTER (WHERE quality IN (1, 2)), avg(result) FILTER (WHERE quality IN (1, 2)),
       min(result) FILTER (WHERE quality IN (1, 2)), max(result) FILTER (WHERE quality IN (1, 2)),
       sum(result) FILTER (WHERE quality IN (1, 2)), first(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)),
       last(result, phenomenon_time) FILTER (WHERE quality IN (1, 2))
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (id, time_from, time_to)
JOIN observation ON datastream_id = span.id
  AND phenomenon_time >= time_bucket('1 hour', span.time_from, 'UTC')
  AND phenomenon_time < time_bucket('1 hour', span.time_to, 'UTC') + interval '1 hour'
WHERE datastream_id = ANY (%(ids)s)
  AND phenomenon_time >= time_bucket('1 hour', %(least)s::timestamptz, 'UTC')
  AND phenomenon_time < time_bucket('1 hour', %(greatest)s::timestamptz, 'UTC') + interval '1 hour'
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
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (id, time_from, time_to)
JOIN observation ON datastream_id = span.id
  AND phenomenon_time >= time_bucket('1 day', span.time_from, %(zone)s)
  AND phenomenon_time < (((span.time_to AT TIME ZONE %(zone)s)::date + 1)::timestamp AT TIME ZONE %(zone)s)
WHERE datastream_id = ANY (%(ids)s)
  AND phenomenon_time >= time_bucket('1 day', %(least)s::timestamptz, %(zone)s)
  AND phenomenon_time < (((%(greatest)s::timestamptz AT TIME ZONE %(zone)s)::date + 1)::timestamp AT TIME ZONE %(zone)s)
GROUP BY 1, 2
ON CONFLICT (datastream_id, bucket) DO UPDATE SET n = excluded.n, n_good = excluded.n_good, mean = excluded.mean, min = excluded.min,
    max = excluded.max, sum = excluded.sum, first = excluded.first, last = excluded.last;

-- name: upsert_1mo
-- Of the days, which are computed before it: a month of observations is not read again for each that comes.
INSERT INTO observation_1mo (datastream_id, bucket, n, n_good, mean, min, max, sum, first, last)
SELECT datastream_id, time_bucket('1 month', bucket, %(zone)s) AS month, sum(n), sum(n_good), sum(sum) / nullif(sum(n_good), 0),
       min(min), max(max), sum(sum), first(first, bucket) FILTER (WHERE n_good > 0), last(last, bucket) FILTER (WHERE n_good > 0)
FROM (SELECT DISTINCT id, month.start, month.stop
      FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (id, time_from, time_to),
           LATERAL (SELECT time_bucket('1 month', span.time_from, %(zone)s) AS start,
                           (date_trunc('month', span.time_to AT TIME ZONE %(zone)s) + interval '1 month') AT TIME ZONE %(zone)s AS stop
                   ) AS month) AS wanted
JOIN observation_1d ON datastream_id = wanted.id AND bucket >= wanted.start AND bucket < wanted.stop
GROUP BY 1, 2
ON CONFLICT (datastream_id, bucket) DO UPDATE SET n = excluded.n, n_good = excluded.n_good, mean = excluded.mean, min = excluded.min,
    max = excluded.max, sum = excluded.sum, first = excluded.first, last = excluded.last;

-- name: refresh_1h
CALL refresh_continuous_aggregate('observation_1h', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_1d
CALL refresh_continuous_aggregate('observation_1d', %(start)s::timestamptz, %(end)s::timestamptz);

-- name: refresh_1mo
CALL refresh_continuous_aggregate('observation_1mo', %(start)s::timestamptz, %(end)s::timestamptz);
