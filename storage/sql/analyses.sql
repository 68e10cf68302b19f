-- name: lock_datastream
-- Two analysts of one datastream store one after the other.
SELECT pg_advisory_xact_lock(1771561, %s);

-- name: latest_runs
SELECT DISTINCT ON (method) id AS run_id, datastream_id, method, version, parameters, window_start, window_end, input_digest, status, result,
       read_seq, recorded_at, ledger_seq, inputs
FROM analysis_run WHERE datastream_id = %s ORDER BY method, id DESC;

-- name: run
SELECT id AS run_id, datastream_id, method, version, parameters, window_start, window_end, input_digest, status, result, read_seq,
       recorded_at, ledger_seq, inputs
FROM analysis_run WHERE id = %s;

-- name: append_ledger
SELECT ledger_append('run', %s);

-- name: insert_run
INSERT INTO analysis_run (datastream_id, method, version, parameters, window_start, window_end, input_digest, status, result, read_seq,
                          ledger_seq, inputs)
VALUES (%(datastream_id)s, %(method)s, %(version)s, %(parameters)s, %(window_start)s, %(window_end)s, %(input_digest)s, %(status)s,
        %(result)s, %(read_seq)s, %(ledger_seq)s, %(inputs)s)
RETURNING id;

-- name: current_findings_of_method
SELECT finding.id AS finding_id, finding.run_id, finding.datastream_id, run.method, finding.kind, starts_at AS start, ends_at AS end, size,
       sigma, score, unit, source, finding.parameters
FROM finding JOIN analysis_run AS run ON run.id = finding.run_id
WHERE finding.datastream_id = %(datastream_id)s AND run.method = %(method)s AND finding.superseded_by IS NULL;

-- name: findings
SELECT finding.id AS finding_id, finding.run_id, finding.datastream_id, run.method, finding.kind, starts_at AS start, ends_at AS end, size,
       sigma, score, unit, source, finding.parameters
FROM finding JOIN analysis_run AS run ON run.id = finding.run_id
WHERE finding.superseded_by IS NULL AND finding.id > %(after)s
  AND (%(datastream_id)s::integer IS NULL OR finding.datastream_id = %(datastream_id)s)
  AND starts_at < %(end)s AND coalesce(ends_at, starts_at) >= %(start)s
ORDER BY finding.id LIMIT %(limit)s;

-- name: findings_as_of
-- What was current at a ledger sequence: found by then, and not superseded by then.
SELECT finding.id AS finding_id, finding.run_id, finding.datastream_id, run.method, finding.kind, starts_at AS start, ends_at AS end, size,
       sigma, score, unit, source, finding.parameters
FROM finding JOIN analysis_run AS run ON run.id = finding.run_id
LEFT JOIN analysis_run AS later ON later.id = finding.superseded_by
WHERE finding.datastream_id = %(datastream_id)s
  AND (%(as_of)s::bigint IS NULL AND later.id IS NULL
       OR run.ledger_seq <= %(as_of)s AND (later.id IS NULL OR later.ledger_seq > %(as_of)s))
ORDER BY starts_at, finding.id;

-- name: runs_as_of
SELECT DISTINCT ON (method) id AS run_id, datastream_id, method, version, parameters, window_start, window_end, input_digest, status, result,
       read_seq, recorded_at, ledger_seq, inputs
FROM analysis_run WHERE datastream_id = %(datastream_id)s AND (%(as_of)s::bigint IS NULL OR ledger_seq <= %(as_of)s)
ORDER BY method, id DESC;

-- name: insert_evaluation
-- Rules that look at findings or runs are judged again; a span in the year 9999 says that no observation changed.
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
VALUES ('evaluate', %(datastream_id)s, '9999-01-01 00:00:00+00', '9999-01-01 00:00:00+00');

-- name: notify
SELECT pg_notify('groundwatch_work', '');

-- name: insert_finding
INSERT INTO finding (run_id, datastream_id, kind, starts_at, ends_at, size, sigma, score, unit, source, parameters)
VALUES (%(run_id)s, %(datastream_id)s, %(kind)s, %(start)s, %(end)s, %(size)s, %(sigma)s, %(score)s, %(unit)s, %(source)s, %(parameters)s);

-- name: supersede_findings
UPDATE finding SET superseded_by = %(run_id)s WHERE id = ANY (%(ids)s);

-- name: save_state
INSERT INTO analysis_state (datastream_id, analysed_at, read_seq, input_digest)
VALUES (%(datastream_id)s, clock_timestamp(), %(read_seq)s, %(input_digest)s)
ON CONFLICT (datastream_id) DO UPDATE SET analysed_at = excluded.analysed_at, read_seq = excluded.read_seq,
    input_digest = excluded.input_digest;

-- name: state
SELECT datastream_id, analysed_at, read_seq, input_digest FROM analysis_state WHERE datastream_id = %s;

-- name: refresh_derivation
UPDATE datastream SET method = %(method)s, method_version = %(version)s, method_parameters = %(parameters)s, input_digest = %(input_digest)s
WHERE id = %(datastream_id)s AND (method, method_version, method_parameters, input_digest)
      IS DISTINCT FROM (%(method)s, %(version)s, %(parameters)s, %(input_digest)s);

-- name: current_seq
SELECT coalesce(max(seq), 0) FROM ledger;
