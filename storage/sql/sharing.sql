-- name: ledger
-- Sequences appear in commit order: a later one is never visible before an earlier one.
SELECT seq, kind, reference, recorded_at FROM ledger WHERE seq >= %(first)s ORDER BY seq LIMIT %(limit)s;

-- name: touched
SELECT batch.id, touched.datastream_id, touched.time_from, touched.time_to
FROM ingest_batch AS batch JOIN ingest_batch_datastream AS touched ON touched.batch_id = batch.id
WHERE batch.ledger_seq = %(seq)s AND touched.datastream_id >= %(first)s ORDER BY touched.datastream_id;

-- name: delivery_of_batch
-- The InSAR delivery that a batch brought: such a batch touches no observations.
SELECT code FROM insar_delivery WHERE ledger_seq = %(seq)s;

-- name: observations_of_batch
-- What a batch said about a datastream, whether it still stands or a later batch superseded it.
SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time
FROM (
    SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time FROM observation
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time BETWEEN %(time_from)s AND %(time_to)s
      AND phenomenon_time > %(after)s AND batch_id = %(batch_id)s
    UNION ALL
    SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time FROM observation_revision
    WHERE datastream_id = %(datastream_id)s AND phenomenon_time BETWEEN %(time_from)s AND %(time_to)s
      AND phenomenon_time > %(after)s AND batch_id = %(batch_id)s AND superseded_by <> batch_id
) AS said
ORDER BY phenomenon_time LIMIT %(limit)s;

-- name: alerts_of
-- Alerts that an entry touched, by their transitions and by their newest change.
SELECT identifier FROM alert WHERE ledger_seq = %(seq)s
UNION
SELECT alert.identifier FROM alert_transition AS step JOIN alert ON alert.id = step.alert_id WHERE step.ledger_seq = %(seq)s
UNION
SELECT alert.identifier FROM cap_message AS message JOIN alert ON alert.id = message.alert_id WHERE message.ledger_seq = %(seq)s
ORDER BY identifier;

-- name: findings_of
-- Findings that the runs of an entry made, and those that they superseded.
SELECT finding.id AS finding_id, finding.run_id, finding.datastream_id, run.method, finding.kind, starts_at AS start, ends_at AS end, size,
       sigma, score, unit, source, finding.parameters
FROM finding JOIN analysis_run AS run ON run.id = finding.run_id WHERE run.ledger_seq = %(seq)s ORDER BY finding.id;

-- name: superseded_findings_of
SELECT finding.id FROM finding JOIN analysis_run AS run ON run.id = finding.superseded_by WHERE run.ledger_seq = %(seq)s ORDER BY finding.id;

-- name: runs_of
SELECT id, datastream_id FROM analysis_run WHERE ledger_seq = %(seq)s ORDER BY id;

-- name: current_seq
SELECT coalesce(max(seq), 0) FROM ledger;

-- name: seq_at
SELECT coalesce(max(seq), 0) FROM ledger WHERE recorded_at <= %s;
