-- name: pack_newest
-- What each datastream has from its own time on, at most so many rows, with a few rows before: enough to tell that most observations are
-- well without reading a month of neighbours. `flagged` says that the flags are not the source's.
SELECT string_agg(int4send(place::integer) || timestamptz_send(time) || timestamptz_send(received) || float8send(coalesce(result, 'NaN'))
                  || boolsend(flagged), ''::bytea ORDER BY place, time)
FROM unnest(%(ids)s::integer[], %(starts)s::timestamptz[]) WITH ORDINALITY AS wanted (id, start, place),
LATERAL (
    (SELECT phenomenon_time AS time, received_at AS received, result, source_quality IS NOT NULL AS flagged FROM observation
     WHERE datastream_id = wanted.id AND phenomenon_time < wanted.start ORDER BY phenomenon_time DESC LIMIT %(before)s)
    UNION ALL
    (SELECT phenomenon_time, received_at, result, source_quality IS NOT NULL FROM observation
     WHERE datastream_id = wanted.id AND phenomenon_time >= wanted.start ORDER BY phenomenon_time LIMIT %(most)s)) AS shown;

-- name: overridden
-- Datastreams of which a person said something that reaches beyond a time.
SELECT DISTINCT datastream_id FROM quality_override
JOIN unnest(%(ids)s::integer[], %(starts)s::timestamptz[]) AS wanted (id, start) ON datastream_id = wanted.id
WHERE withdrawn_at IS NULL AND time_to > wanted.start;
