-- name: ingest
-- Batches and rows by source since the beginning, and when each source was last heard.
SELECT source_kind, count(*) AS batches, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(corrected) AS corrected,
       sum(rejected) AS rejected, max(received_at) AS last_received_at, max(committed_at) AS last_committed_at
FROM ingest_batch
GROUP BY source_kind
ORDER BY source_kind;

-- name: last_lag
-- Seconds from receipt to commit of the newest batches of the live sources.
SELECT source_kind, max(extract(epoch FROM committed_at - received_at))::double precision AS lag_s
FROM (SELECT source_kind, committed_at, received_at FROM ingest_batch ORDER BY id DESC LIMIT 100) newest
WHERE source_kind IN ('mqtt', 'http')
GROUP BY source_kind
ORDER BY source_kind;

-- name: work
-- Work that commits left and nobody has done yet.
SELECT kind, count(*) AS items, min(created_at) AS oldest FROM work_item GROUP BY kind ORDER BY kind;

-- name: alerts
-- Open alerts by state and level.
SELECT state, level, count(*) AS alerts FROM alert WHERE state <> 'resolved' AND status = 'Actual' GROUP BY state, level
ORDER BY state, level;

-- name: outbox
-- Notifications that wait or were given up, by receiver.
SELECT receiver_code AS receiver, state, count(*) AS notifications, min(created_at) AS oldest
FROM notification
WHERE state <> 'sent'
GROUP BY receiver_code, state
ORDER BY receiver_code, state;

-- name: quarantine
-- Rejects that nobody resolved.
SELECT count(*) AS rejects FROM quarantine WHERE resolved_at IS NULL;

-- name: live
-- Datastreams heard in the last week with a declared interval: how many there are and how many are silent now.
SELECT count(*) AS live,
       count(*) FILTER (WHERE s.last_time < %(now)s::timestamptz - greatest(3 * d.interval_s, 120) * interval '1 second') AS silent,
       max(s.last_time) AS newest
FROM datastream d JOIN datastream_status s ON s.datastream_id = d.id
WHERE NOT d.derived AND d.interval_s <= 86400 AND s.last_time > %(now)s::timestamptz - interval '7 days'
      AND s.last_received_at > %(now)s::timestamptz - interval '7 days';

-- name: touched_since
-- Datastreams whose observations a commit later than a ledger sequence changed.
SELECT DISTINCT t.datastream_id
FROM ingest_batch b JOIN ingest_batch_datastream t ON t.batch_id = b.id
WHERE b.ledger_seq > %(seq)s AND b.ledger_seq <= %(upto)s
ORDER BY t.datastream_id;

-- name: kinds_since
-- The newest ledger sequence and the kinds of entries later than a given one.
SELECT coalesce(max(seq), %(seq)s) AS seq, coalesce(array_agg(DISTINCT kind), '{}') AS kinds FROM ledger WHERE seq > %(seq)s;
