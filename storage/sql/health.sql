-- name: station_receipts
-- When each station's newest observations were made and received, of the datastream heard last; a file's time of receipt says nothing.
SELECT station.code, newest.phenomenon_time, newest.received_at
FROM (
    SELECT DISTINCT ON (stream.station_id) stream.station_id, stream.id
    FROM datastream AS stream JOIN datastream_status AS status ON status.datastream_id = stream.id
    JOIN station AS owner ON owner.id = stream.station_id
    WHERE NOT stream.derived AND owner.code = ANY (%(stations)s) AND status.last_received_at >= %(start)s
    ORDER BY stream.station_id, status.last_received_at DESC, stream.id) AS heard
JOIN station ON station.id = heard.station_id
CROSS JOIN LATERAL (
    SELECT observation.phenomenon_time, observation.received_at
    FROM observation JOIN ingest_batch AS batch ON batch.id = observation.batch_id
    WHERE observation.datastream_id = heard.id AND phenomenon_time >= %(start)s
      AND phenomenon_time < %(now)s::timestamptz + interval '1 day'
      AND batch.source_kind IN ('mqtt', 'http', 'tcp', 'quality', 'override')
    ORDER BY phenomenon_time DESC LIMIT %(limit)s) AS newest
ORDER BY station.code, newest.phenomenon_time;

-- name: waiting_by_station
-- What of each station waits in quarantine.
SELECT lower(station_code), count(*) FROM quarantine
WHERE resolved_at IS NULL AND station_code IS NOT NULL GROUP BY 1;

-- name: open_findings_by_station
-- Findings of the window that stand, a station each.
SELECT station.code, count(*) FROM finding
JOIN datastream AS stream ON stream.id = finding.datastream_id JOIN station ON station.id = stream.station_id
WHERE finding.superseded_by IS NULL AND finding.starts_at >= %(start)s GROUP BY 1;

-- name: daily_means
-- Daily means of usable values.
SELECT datastream_id, extract(epoch FROM bucket)::float8 / 86400.0, mean FROM observation_1d
WHERE datastream_id = ANY (%(ids)s) AND bucket >= %(start)s AND bucket < %(now)s AND mean IS NOT NULL;
