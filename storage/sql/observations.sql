-- name: lock_datastreams
-- Writers of one datastream queue up; always in ascending order, so that they never wait in a circle.
SELECT pg_advisory_xact_lock(1618033988, key) FROM unnest(%s::integer[]) AS key;

-- name: insert_batch
INSERT INTO ingest_batch (source_kind, source, device, actor, format, profile, sha256, parameters, received_at, rejected)
VALUES (%(source_kind)s, %(source)s, %(device)s, %(actor)s, %(format)s, %(profile)s, %(sha256)s, %(parameters)s,
        coalesce(%(received_at)s, clock_timestamp()), %(rejected)s)
RETURNING id, received_at;

-- name: copy_raw_payloads
COPY raw_payload (batch_id, ordinal, source, media_type, received_at, sha256, size, body, location) FROM STDIN (FORMAT binary);

-- name: raw_payload_ids
SELECT ordinal, id FROM raw_payload WHERE batch_id = %s;

-- name: copy_quarantine
COPY quarantine (batch_id, raw_payload_id, station_code, line, code, reason, raw, received_at, payload_sha256, device)
FROM STDIN (FORMAT binary);

-- name: lock_quarantine
-- Taken after the datastreams' locks and before the ledger's, so that nobody waits in a circle; held for the end of a commit only.
SELECT pg_advisory_xact_lock(314159265);

-- name: open_rejects
SELECT payload_sha256, line, code, station_code, sha256(raw) FROM quarantine
WHERE payload_sha256 = ANY (%s) AND resolved_at IS NULL;

-- name: statuses
SELECT datastream_id, first_time, last_time, last_result, last_quality, observations, last_received_at
FROM datastream_status WHERE datastream_id = ANY (%s);

-- name: occupied_datastreams
-- Which datastreams have any observation within their span of the batch? The status answers for whoever appends; LIMIT keeps the
-- planner from joining whole chunks, and the outer bounds let it leave chunks out.
SELECT span.id
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (id, lowest, highest)
JOIN datastream_status AS status
  ON status.datastream_id = span.id AND span.lowest <= status.last_time AND span.highest >= status.first_time
CROSS JOIN LATERAL (
    SELECT FROM observation
    WHERE datastream_id = span.id AND phenomenon_time BETWEEN span.lowest AND span.highest
      AND phenomenon_time BETWEEN %(first)s AND %(last)s
    LIMIT 1) AS stored;

-- name: copy_observations
COPY observation (datastream_id, phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id)
FROM STDIN (FORMAT binary);

-- name: is_stored_part
-- Rows that one batch stored still carry it unless they were corrected or removed: as many as there were, and all of them stand.
SELECT part.rows = (
    SELECT count(*) FROM observation
    WHERE datastream_id BETWEEN %(low)s AND %(high)s AND phenomenon_time BETWEEN %(first)s AND %(last)s AND batch_id = part.batch_id)
FROM import_part AS part WHERE part.content_sha256 = %(content)s;

-- name: insert_part
INSERT INTO import_part (content_sha256, batch_id, rows, datastream_low, datastream_high, time_first, time_last)
VALUES (%(content)s, %(batch_id)s, %(rows)s, %(low)s, %(high)s, %(first)s, %(last)s)
ON CONFLICT (content_sha256) DO UPDATE
SET (batch_id, rows, datastream_low, datastream_high, time_first, time_last) = (excluded.batch_id, excluded.rows, excluded.datastream_low,
     excluded.datastream_high, excluded.time_first, excluded.time_last);

-- name: remember_file
INSERT INTO import_file (key_sha256, contents, rows, stations, notes, register_seq)
SELECT %(key)s, %(contents)s, %(rows)s, %(stations)s, %(notes)s, %(mark)s
WHERE %(mark)s = (SELECT coalesce(max(seq), 0) FROM ledger WHERE kind IN ('configuration', 'event'))
  AND (SELECT count(*) FROM import_part WHERE content_sha256 = ANY (%(contents)s) AND time_last IS NOT NULL) = cardinality(%(contents)s::text[])
ON CONFLICT (key_sha256) DO UPDATE
SET (contents, rows, stations, notes, register_seq) = (excluded.contents, excluded.rows, excluded.stations, excluded.notes, excluded.register_seq);

-- name: recall_file
-- A remembered file, while no register has changed and every part of it stands, each looked for where it lies.
SELECT contents, rows, stations, notes, register_seq
FROM import_file AS file
WHERE key_sha256 = %(key)s
  AND register_seq = (SELECT coalesce(max(seq), 0) FROM ledger WHERE kind IN ('configuration', 'event'))
  AND (SELECT count(*) = cardinality(file.contents)
              AND bool_and(part.rows = (SELECT count(*) FROM observation AS stored
                                        WHERE stored.datastream_id BETWEEN part.datastream_low AND part.datastream_high
                                          AND stored.phenomenon_time BETWEEN part.time_first AND part.time_last
                                          AND stored.batch_id = part.batch_id))
       FROM import_part AS part WHERE part.content_sha256 = ANY (file.contents));

-- name: create_staging
CREATE TEMPORARY TABLE IF NOT EXISTS staged_observation (
    ordinal          integer NOT NULL,
    datastream_id    integer NOT NULL,
    phenomenon_time  timestamptz NOT NULL,
    phenomenon_end   timestamptz,
    result           double precision,
    sigma            double precision,
    quality          smallint NOT NULL,
    quality_reasons  text[],
    result_time      timestamptz
) ON COMMIT DELETE ROWS;

-- name: clear_staging
-- A second batch of one transaction finds the rows of the first.
DELETE FROM staged_observation;

-- name: copy_staged
COPY staged_observation (ordinal, datastream_id, phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time)
FROM STDIN (FORMAT binary);

-- name: analyze_staged
ANALYZE staged_observation;

-- name: pack_unequal
-- Rows that are not stored as they are: new keys, and keys with another value. What is equal is not sent back. Flags are held against
-- those of the source: what quality control or a person said beside them makes no correction of a file sent again.
SELECT string_agg(int4send(staged.ordinal) || boolsend(stored.datastream_id IS NOT NULL), ''::bytea)
FROM staged_observation AS staged
LEFT JOIN observation AS stored
  ON stored.datastream_id = staged.datastream_id AND stored.phenomenon_time = staged.phenomenon_time
 AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s
WHERE stored.datastream_id IS NULL
   OR (stored.result, stored.sigma, stored.phenomenon_end, coalesce(stored.source_quality, stored.quality),
       CASE WHEN stored.source_quality IS NULL THEN stored.quality_reasons ELSE stored.source_reasons END)
      IS DISTINCT FROM (staged.result, staged.sigma, staged.phenomenon_end, staged.quality, staged.quality_reasons);

-- name: stored_values
-- The stored values of staged keys, to compare them with lines that a later line of the same batch superseded.
SELECT staged.ordinal, stored.result, stored.sigma, stored.phenomenon_end, coalesce(stored.source_quality, stored.quality),
       CASE WHEN stored.source_quality IS NULL THEN stored.quality_reasons ELSE stored.source_reasons END
FROM staged_observation AS staged
JOIN observation AS stored USING (datastream_id, phenomenon_time)
WHERE staged.ordinal = ANY (%(ordinals)s) AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s;

-- name: superseded_repeats
-- Staged rows that say what a payload of this batch said before, when it came the first time, and what was corrected since. Flags are not
-- compared: quality control may have changed them meanwhile. Where a batch is of one payload alone, and what is stored is of that payload
-- too, it was read in another way since, and is so again now.
SELECT DISTINCT staged.ordinal
FROM staged_observation AS staged
JOIN observation_revision AS before USING (datastream_id, phenomenon_time)
WHERE staged.ordinal = ANY (%(ordinals)s)
  AND (before.result, before.sigma, before.phenomenon_end) IS NOT DISTINCT FROM (staged.result, staged.sigma, staged.phenomenon_end)
  AND EXISTS (SELECT FROM raw_payload AS payload WHERE payload.batch_id = before.batch_id AND payload.sha256 = ANY (%(digests)s))
  AND NOT (%(is_one)s AND EXISTS (
      SELECT FROM observation AS stored JOIN raw_payload AS payload USING (batch_id)
      WHERE stored.datastream_id = staged.datastream_id AND stored.phenomenon_time = staged.phenomenon_time
        AND payload.sha256 = ANY (%(digests)s)));

-- name: keep_revisions
INSERT INTO observation_revision (datastream_id, phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time,
                                  received_at, batch_id, superseded_by)
SELECT stored.datastream_id, stored.phenomenon_time, stored.phenomenon_end, stored.result, stored.sigma, stored.quality,
       stored.quality_reasons, stored.result_time, stored.received_at, stored.batch_id, %(batch_id)s
FROM staged_observation AS staged
JOIN observation AS stored USING (datastream_id, phenomenon_time)
WHERE staged.ordinal = ANY (%(ordinals)s) AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s;

-- name: correct_observations
-- datastream_id = ANY and the bounds: constants are all that TimescaleDB looks at when it chooses which compressed rows to unpack.
UPDATE observation AS stored
SET phenomenon_end = staged.phenomenon_end, result = staged.result, sigma = staged.sigma, quality = staged.quality,
    quality_reasons = staged.quality_reasons, source_quality = NULL, source_reasons = NULL, result_time = staged.result_time,
    received_at = %(received_at)s, batch_id = %(batch_id)s
FROM staged_observation AS staged
WHERE staged.ordinal = ANY (%(ordinals)s) AND stored.datastream_id = staged.datastream_id
  AND stored.phenomenon_time = staged.phenomenon_time AND stored.phenomenon_time BETWEEN %(first)s AND %(last)s
  AND stored.datastream_id = ANY (%(datastreams)s);

-- name: copy_revisions
COPY observation_revision (datastream_id, phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at,
                           batch_id, superseded_by)
FROM STDIN (FORMAT binary);

-- name: keep_plans
-- For what reads no compressed chunk plans may be kept: the check of a foreign key is a statement of its own for each row, and planning
-- each anew costs several times as much as the rest of the insertion.
SET LOCAL plan_cache_mode = auto;

-- name: make_plans
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: update_statuses
INSERT INTO datastream_status AS status
    (datastream_id, first_time, last_time, last_received_at, last_result, last_quality, observations)
SELECT id, first_time, last_time, %(received_at)s, last_result, last_quality, added
FROM unnest(%(ids)s::integer[], %(first_times)s::timestamptz[], %(last_times)s::timestamptz[], %(last_results)s::float8[],
            %(last_qualities)s::smallint[], %(added)s::bigint[])
     AS change (id, first_time, last_time, last_result, last_quality, added)
ON CONFLICT (datastream_id) DO UPDATE SET
    first_time = least(status.first_time, excluded.first_time),
    last_time = greatest(status.last_time, excluded.last_time),
    last_received_at = greatest(status.last_received_at, excluded.last_received_at),
    last_result = CASE WHEN excluded.last_time >= status.last_time OR status.last_time IS NULL THEN excluded.last_result ELSE status.last_result END,
    last_quality = CASE WHEN excluded.last_time >= status.last_time OR status.last_time IS NULL THEN excluded.last_quality ELSE status.last_quality END,
    observations = status.observations + excluded.observations;

-- name: insert_batch_datastreams
INSERT INTO ingest_batch_datastream (batch_id, datastream_id, changed, time_from, time_to)
SELECT %(batch_id)s, id, changed, time_from, time_to
FROM unnest(%(ids)s::integer[], %(changed)s::bigint[], %(first_times)s::timestamptz[], %(last_times)s::timestamptz[])
     AS change (id, changed, time_from, time_to);

-- name: insert_work
-- In the order of the kinds: what is to be done first has the smaller number.
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
SELECT kind, id, time_from, time_to
FROM unnest(%(ids)s::integer[], %(first_times)s::timestamptz[], %(last_times)s::timestamptz[]) AS change (id, time_from, time_to),
     unnest(%(kinds)s::text[]) WITH ORDINALITY AS wanted (kind, place)
ORDER BY place, id;

-- name: count_batch
UPDATE ingest_batch SET accepted = %(accepted)s, duplicate = %(duplicate)s, corrected = %(corrected)s WHERE id = %(batch_id)s;

-- name: close_batch
-- The ledger comes last: its lock is held only from here to the commit.
UPDATE ingest_batch
SET accepted = %(accepted)s, duplicate = %(duplicate)s, corrected = %(corrected)s, ledger_seq = ledger_append('batch', id::text)
WHERE id = %(batch_id)s
RETURNING ledger_seq, pg_notify('groundwatch_work', '');

-- name: pack_series
-- One value instead of a message a row; NaN and -infinity stand for NULL, so that every row has one width.
SELECT string_agg(timestamptz_send(phenomenon_time) || float8send(coalesce(result, 'NaN')) || float8send(coalesce(sigma, 'NaN'))
                  || int2send(quality) || timestamptz_send(coalesce(phenomenon_end, '-infinity')), ''::bytea)
FROM (
    SELECT phenomenon_time, result, sigma, quality, phenomenon_end FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
    ORDER BY phenomenon_time
) AS known;

-- name: changed_after
-- From when on batches after a ledger sequence of each changed many datastreams; the least of the sequences spares the older batches.
SELECT touched.datastream_id, min(touched.time_from)
FROM unnest(%(ids)s::integer[], %(seqs)s::bigint[]) AS wanted (datastream_id, seq)
JOIN ingest_batch_datastream AS touched ON touched.datastream_id = wanted.datastream_id
JOIN ingest_batch AS batch ON batch.id = touched.batch_id
WHERE batch.ledger_seq > wanted.seq AND batch.ledger_seq > %(least)s
GROUP BY touched.datastream_id;

-- name: pack_series_since
-- Of many datastreams what each has from its own time on; the least of the times lets the planner leave chunks out.
SELECT known.datastream_id,
       string_agg(timestamptz_send(phenomenon_time) || float8send(coalesce(result, 'NaN')) || float8send(coalesce(sigma, 'NaN'))
                  || int2send(quality) || timestamptz_send(coalesce(phenomenon_end, '-infinity')), ''::bytea ORDER BY phenomenon_time)
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[]) AS wanted (datastream_id, start)
JOIN observation AS known ON known.datastream_id = wanted.datastream_id AND known.phenomenon_time >= wanted.start
WHERE known.phenomenon_time >= %(least)s AND known.datastream_id = ANY (%(ids)s)
GROUP BY known.datastream_id;

-- name: pack_extents_since
-- Of many datastreams what each has from its own time on, in a few figures; the least of the times lets the planner leave chunks out.
SELECT string_agg(int4send(place::integer) || float8send(coalesce(low, 'NaN')) || float8send(coalesce(high, 'NaN'))
                  || float8send(coalesce(newest_result, 'NaN')) || timestamptz_send(first_time) || timestamptz_send(newest) || int4send(rows::integer) || int4send(unusable::integer), ''::bytea)
FROM (
    SELECT place, min(result) AS low, max(result) AS high, last(result, phenomenon_time) AS newest_result,
           min(phenomenon_time) AS first_time, max(phenomenon_time) AS newest, count(*) AS rows,
           count(*) FILTER (WHERE quality NOT IN (1, 2) OR result IS NULL OR result = 'NaN') AS unusable
    FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[]) WITH ORDINALITY AS wanted (datastream_id, start, place)
    JOIN observation AS known ON known.datastream_id = wanted.datastream_id AND known.phenomenon_time >= wanted.start
    WHERE known.phenomenon_time >= %(least)s AND known.datastream_id = ANY (%(ids)s)
    GROUP BY place) AS found;

-- name: read_one_snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: later_batches
-- Batches that changed a datastream after a ledger sequence.
SELECT touched.batch_id
FROM ingest_batch_datastream AS touched JOIN ingest_batch AS batch ON batch.id = touched.batch_id
WHERE touched.datastream_id = %(datastream_id)s AND batch.ledger_seq > %(as_of)s;

-- name: pack_series_as_of
-- What was known: current rows that no later batch wrote, and revisions that a later batch superseded but did not write.
SELECT string_agg(timestamptz_send(phenomenon_time) || float8send(coalesce(result, 'NaN')) || float8send(coalesce(sigma, 'NaN'))
                  || int2send(quality) || timestamptz_send(coalesce(phenomenon_end, '-infinity')), ''::bytea)
FROM (
    SELECT phenomenon_time, result, sigma, quality, phenomenon_end FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
      AND batch_id <> ALL (%(later)s::bigint[])
    UNION ALL
    SELECT phenomenon_time, result, sigma, quality, phenomenon_end FROM observation_revision
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
      AND superseded_by = ANY (%(later)s::bigint[]) AND batch_id <> ALL (%(later)s::bigint[])
    ORDER BY phenomenon_time
) AS known;

-- name: page
SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id
FROM observation
WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
  AND phenomenon_time > %(after)s
ORDER BY phenomenon_time
LIMIT %(limit)s;

-- name: exceeds
SELECT EXISTS (
    SELECT FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
    OFFSET %(count)s::bigint
);

-- name: page_as_of
SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id
FROM (
    SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id
    FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
      AND phenomenon_time > %(after)s AND batch_id <> ALL (%(later)s::bigint[])
    UNION ALL
    SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id
    FROM observation_revision
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time >= %(start)s AND phenomenon_time < %(end)s
      AND phenomenon_time > %(after)s AND superseded_by = ANY (%(later)s::bigint[]) AND batch_id <> ALL (%(later)s::bigint[])
) AS known
ORDER BY phenomenon_time
LIMIT %(limit)s;

-- name: buckets_1h
SELECT bucket, n, n_good, mean, min, max, sum, first, last FROM observation_1h
WHERE datastream_id = %(datastream_id)s AND bucket >= %(start)s AND bucket < %(end)s ORDER BY bucket LIMIT %(limit)s::bigint;

-- name: buckets_1d
SELECT bucket, n, n_good, mean, min, max, sum, first, last FROM observation_1d
WHERE datastream_id = %(datastream_id)s AND bucket >= %(start)s AND bucket < %(end)s ORDER BY bucket LIMIT %(limit)s::bigint;

-- name: buckets_1mo
SELECT bucket, n, n_good, mean, min, max, sum, first, last FROM observation_1mo
WHERE datastream_id = %(datastream_id)s AND bucket >= %(start)s AND bucket < %(end)s ORDER BY bucket LIMIT %(limit)s::bigint;

-- name: last_time
SELECT last_time FROM datastream_status WHERE datastream_id = %s;

-- name: revisions
SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time, received_at, batch_id, superseded_by,
       superseded_at
FROM observation_revision WHERE datastream_id = %s AND phenomenon_time = %s ORDER BY id;

-- name: batch
SELECT id, source_kind, source, device, actor, format, profile, sha256, parameters, received_at, committed_at, accepted, duplicate,
       corrected, rejected, ledger_seq
FROM ingest_batch WHERE id = %s;

-- name: batches
SELECT id, source_kind, source, device, actor, format, profile, sha256, parameters, received_at, committed_at, accepted, duplicate,
       corrected, rejected, ledger_seq
FROM ingest_batch WHERE id < coalesce(%(after)s, 9223372036854775807) ORDER BY id DESC LIMIT %(limit)s;

-- name: quarantined
SELECT entry.id, entry.batch_id, entry.raw_payload_id, entry.station_code, entry.line, entry.code, entry.reason, entry.raw,
       entry.received_at, entry.resolved_at, batch.source, batch.source_kind
FROM quarantine AS entry JOIN ingest_batch AS batch ON batch.id = entry.batch_id
WHERE entry.id > %(after)s AND (%(resolved)s OR entry.resolved_at IS NULL) ORDER BY entry.id LIMIT %(limit)s;

-- name: restate_quarantine
-- Say better why entries wait.
UPDATE quarantine SET reason = %(reason)s WHERE id = ANY (%(ids)s) AND resolved_at IS NULL AND reason <> %(reason)s;

-- name: resolve_quarantine
UPDATE quarantine SET resolved_at = %(now)s, resolved_batch = %(batch_id)s WHERE id = ANY (%(ids)s) AND resolved_at IS NULL;

-- name: raw_payload
SELECT id, batch_id, ordinal, source, media_type, received_at, sha256, size, body, location FROM raw_payload WHERE id = %s;

-- name: raw_payloads_of_batch
SELECT id, batch_id, ordinal, source, media_type, received_at, sha256, size, body, location FROM raw_payload
WHERE batch_id = %s ORDER BY ordinal;

-- name: current_seq
SELECT coalesce(max(seq), 0) FROM ledger;

-- name: seq_at
-- "As of T": the greatest sequence recorded by T.
SELECT coalesce(max(seq), 0) FROM ledger WHERE recorded_at <= %s;
