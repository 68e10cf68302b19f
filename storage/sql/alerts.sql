-- name: lock_keys
-- Excludes other transactions on the same rules and scopes; always in ascending order.
SELECT pg_advisory_xact_lock(1123581321, key) FROM unnest(%s::integer[]) AS key;

-- name: append_ledger
SELECT ledger_append('alert', %s);

-- name: states
-- Only those whose row is another one than the caller has: xmin and ctid name a row's version. A NULL version = there is none any more.
SELECT key.rule_code, key.scope, state.xmin::text || state.ctid::text AS version, rule_version, verdict, level, evaluated_at, value, reason,
       event_time, memory
FROM unnest(%(codes)s::text[], %(scopes)s::text[], %(versions)s::text[]) AS key (rule_code, scope, version)
LEFT JOIN rule_state AS state USING (rule_code, scope)
WHERE coalesce(state.xmin::text || state.ctid::text, '') <> key.version;

-- name: list_states
SELECT rule_code, scope, rule_version, verdict, level, evaluated_at, value, reason, event_time, memory
FROM rule_state
WHERE (%(rule_code)s::text IS NULL OR rule_code = %(rule_code)s) AND (%(verdict)s::text IS NULL OR verdict = %(verdict)s)
ORDER BY rule_code, scope;

-- name: put_states
-- However many there are, in one statement.
INSERT INTO rule_state (rule_code, scope, rule_version, verdict, level, evaluated_at, value, reason, event_time, memory)
SELECT rule_code, scope, rule_version, verdict, level, evaluated_at, value, reason, event_time, memory
FROM jsonb_to_recordset(%s)
     AS said (rule_code text, scope text, rule_version integer, verdict text, level smallint, evaluated_at timestamptz, value float8,
              reason text, event_time timestamptz, memory jsonb)
ON CONFLICT (rule_code, scope) DO UPDATE SET rule_version = excluded.rule_version, verdict = excluded.verdict, level = excluded.level,
    evaluated_at = excluded.evaluated_at, value = excluded.value, reason = excluded.reason, event_time = excluded.event_time,
    memory = excluded.memory
RETURNING rule_code, scope, xmin::text || ctid::text;

-- name: alerts_of
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
JOIN unnest(%(codes)s::text[], %(scopes)s::text[]) AS key (rule_code, scope) USING (rule_code, scope)
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
ORDER BY alert.onset, alert.id;

-- name: alert_for_update
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
WHERE alert.id = %s
FOR UPDATE OF alert;

-- name: find_alert
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
WHERE alert.id = %(id)s OR alert.identifier = %(identifier)s;

-- name: held_alerts
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
WHERE alert.memory ?| ARRAY['suppressed', 'shelved'] ORDER BY alert.id;

-- name: alert_group
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
WHERE alert.memory ->> 'group' = %s AND (alert.state = 'firing' OR alert.memory ->> 'held' = 'grouped') ORDER BY alert.id;

-- name: list_alerts
SELECT alert.identifier, alert.rule_code, alert.rule_version, alert.scope, alert.state, alert.level, alert.peak_level, alert.onset,
       alert.verdict, alert.confirmation, alert.evidence, alert.opened_at, alert.updated_at, alert.ended, station.code AS station,
       alert.station_id, stream.code AS datastream, alert.datastream_id, alert.confirmed_by, alert.confirmed_at, alert.acknowledged_by,
       alert.acknowledged_at, alert.acknowledged_note, alert.status, alert.memory, alert.id AS alert_id, alert.ledger_seq
FROM alert
LEFT JOIN station ON station.id = alert.station_id
LEFT JOIN datastream AS stream ON stream.id = alert.datastream_id
WHERE (alert.updated_at, alert.id) < (%(after_time)s::timestamptz, %(after_id)s::bigint)
  AND (cardinality(%(states)s::text[]) = 0 OR alert.state = ANY (%(states)s))
  AND (cardinality(%(levels)s::integer[]) = 0 OR alert.level = ANY (%(levels)s))
  AND (cardinality(%(statuses)s::text[]) = 0 OR alert.status = ANY (%(statuses)s))
  AND (%(rule_code)s::text IS NULL OR alert.rule_code = %(rule_code)s)
  AND (%(station)s::text IS NULL OR lower(station.code) = lower(%(station)s))
  AND (%(datastream)s::text IS NULL OR lower(stream.code) = lower(%(datastream)s))
  AND (%(acknowledged)s::boolean IS NULL OR (alert.acknowledged_at IS NOT NULL) = %(acknowledged)s)
  AND (%(since)s::timestamptz IS NULL OR alert.updated_at >= %(since)s)
ORDER BY alert.updated_at DESC, alert.id DESC LIMIT %(limit)s;

-- name: insert_alert
INSERT INTO alert (identifier, rule_code, rule_version, scope, station_id, datastream_id, state, level, peak_level, onset, ended, verdict,
                   confirmation, confirmed_by, confirmed_at, acknowledged_by, acknowledged_at, acknowledged_note, status, evidence, memory,
                   opened_at, updated_at, ledger_seq)
VALUES (%(identifier)s, %(rule_code)s, %(rule_version)s, %(scope)s,
        coalesce(%(station_id)s, (SELECT id FROM station WHERE lower(code) = lower(%(station)s))),
        coalesce(%(datastream_id)s, (SELECT id FROM datastream WHERE lower(code) = lower(%(datastream)s))),
        %(state)s, %(level)s, %(peak_level)s, %(onset)s, %(ended)s, %(verdict)s, %(confirmation)s, %(confirmed_by)s, %(confirmed_at)s,
        %(acknowledged_by)s, %(acknowledged_at)s, %(acknowledged_note)s, %(status)s, %(evidence)s, %(memory)s, %(opened_at)s,
        %(updated_at)s, %(ledger_seq)s)
RETURNING id;

-- name: update_alert
UPDATE alert SET rule_version = %(rule_version)s, state = %(state)s, level = %(level)s, peak_level = %(peak_level)s, onset = %(onset)s,
    ended = %(ended)s, verdict = %(verdict)s, confirmation = %(confirmation)s, confirmed_by = %(confirmed_by)s,
    confirmed_at = %(confirmed_at)s, acknowledged_by = %(acknowledged_by)s, acknowledged_at = %(acknowledged_at)s,
    acknowledged_note = %(acknowledged_note)s, status = %(status)s, evidence = %(evidence)s, memory = %(memory)s,
    updated_at = %(updated_at)s, ledger_seq = %(ledger_seq)s
WHERE id = %(alert_id)s;

-- name: insert_transition
INSERT INTO alert_transition (alert_id, from_state, to_state, from_level, to_level, kind, occurred_at, recorded_at, actor, reason,
                              evidence, ledger_seq)
VALUES (%(alert_id)s, %(from_state)s, %(to_state)s, %(from_level)s, %(to_level)s, %(kind)s, %(occurred_at)s, %(recorded_at)s, %(actor)s,
        %(reason)s, %(evidence)s, %(ledger_seq)s);

-- name: transitions
SELECT alert_id, kind, to_state, occurred_at, recorded_at, actor, reason, from_state, from_level, to_level, evidence, id AS transition_id
FROM alert_transition WHERE alert_id = %s ORDER BY id;

-- name: insert_notification
INSERT INTO notification (idempotency_key, alert_id, receiver_code, message_type, payload, created_at, state, attempts, next_attempt_at,
                          sent_at, last_error)
VALUES (%(idempotency_key)s, %(alert_id)s, %(receiver_code)s, %(message_type)s, %(payload)s, %(created_at)s, %(state)s, %(attempts)s,
        %(next_attempt_at)s, %(sent_at)s, %(last_error)s)
ON CONFLICT (idempotency_key) DO NOTHING;

-- name: notify_outbox
-- Sent when the transaction commits, once however often it is asked for.
SELECT pg_notify('groundwatch_outbox', '');

-- name: waiting
SELECT idempotency_key, receiver_code, message_type, payload, created_at, next_attempt_at, alert_id, state, attempts, sent_at, last_error,
       id AS notification_id
FROM notification WHERE receiver_code = %(receiver_code)s AND state = 'waiting' ORDER BY id LIMIT %(limit)s;

-- name: notifications
SELECT idempotency_key, receiver_code, message_type, payload, created_at, next_attempt_at, alert_id, state, attempts, sent_at, last_error,
       id AS notification_id
FROM notification
WHERE (%(alert_id)s::bigint IS NULL OR alert_id = %(alert_id)s) AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: bundle
-- What a digest stands for is no longer waiting; anything that was sent meanwhile stays as it is.
UPDATE notification SET state = 'bundled', bundled_into = (SELECT id FROM notification WHERE idempotency_key = %(key)s)
WHERE id = ANY(%(ids)s) AND state = 'waiting';

-- name: mark_sent
UPDATE notification SET state = 'sent', sent_at = %(now)s, attempts = attempts + 1, last_error = NULL WHERE id = %(id)s;

-- name: mark_failed
UPDATE notification SET attempts = attempts + 1, last_error = %(error)s, next_attempt_at = %(next_attempt_at)s WHERE id = %(id)s;

-- name: mark_dead
UPDATE notification SET state = 'dead', attempts = attempts + 1, last_error = %(error)s WHERE id = %(id)s;

-- name: revive
UPDATE notification SET state = 'waiting', attempts = 0, next_attempt_at = %(now)s, payload = payload || '{"replay": true}'
WHERE id = %(id)s AND state = 'dead';

-- name: insert_cap
INSERT INTO cap_message (identifier, alert_id, sender, sent, message_type, reference_list, body, ledger_seq)
VALUES (%(identifier)s, %(alert_id)s, %(sender)s, %(sent)s, %(message_type)s, %(reference_list)s, %(body)s, %(ledger_seq)s);

-- name: cap_of
SELECT identifier, alert_id, sender, sent, message_type, body, reference_list, ledger_seq
FROM cap_message WHERE alert_id = %s ORDER BY ledger_seq, sent, identifier;

-- name: recent_cap
SELECT identifier, alert_id, sender, sent, message_type, body, reference_list, ledger_seq
FROM cap_message ORDER BY sent DESC, ledger_seq DESC LIMIT %s;

-- name: reserve_identifier
-- A try-lock never waits, so it cannot be part of a deadlock with the ledger's lock.
SELECT pg_try_advisory_xact_lock(1134903170, hashtext(%(identifier)s))
   AND NOT EXISTS (SELECT FROM alert WHERE identifier = %(identifier)s)
   AND NOT EXISTS (SELECT FROM cap_message WHERE identifier = %(identifier)s)
   AND NOT EXISTS (SELECT FROM foreign_acknowledgement WHERE identifier = %(identifier)s);

-- name: lock_rule
SELECT pg_advisory_xact_lock(1836311903, hashtext(%s));

-- name: newest_rules
SELECT code, kind, name_zh, name_en, definition, source, author, version, effective_from, enabled, recorded_at, reason
FROM (SELECT DISTINCT ON (code) * FROM rule ORDER BY code, version DESC) AS newest
WHERE enabled OR NOT %(enabled_only)s ORDER BY code;

-- name: rule
SELECT code, kind, name_zh, name_en, definition, source, author, version, effective_from, enabled, recorded_at, reason
FROM rule WHERE code = %(code)s AND (%(version)s::integer IS NULL OR version = %(version)s) ORDER BY version DESC LIMIT 1;

-- name: rule_versions
SELECT code, kind, name_zh, name_en, definition, source, author, version, effective_from, enabled, recorded_at, reason
FROM rule WHERE code = %s ORDER BY version;

-- name: insert_rule
INSERT INTO rule (code, version, kind, name_zh, name_en, definition, source, effective_from, enabled, author, recorded_at, reason, ledger_seq)
VALUES (%(code)s, %(version)s, %(kind)s, %(name_zh)s, %(name_en)s, %(definition)s, %(source)s, %(effective_from)s, %(enabled)s,
        %(author)s, %(recorded_at)s, %(reason)s, ledger_append('rule', %(code)s::text || ':' || %(version)s::integer));

-- name: rules_mark
-- Rules are only ever added, and the ledger numbers them in the order of their commits: the newest number tells whether any came.
SELECT coalesce(max(ledger_seq), 0) FROM rule;

-- name: policy
SELECT version, content, author, reason, recorded_at FROM alert_policy
WHERE %(version)s::integer IS NULL OR version = %(version)s ORDER BY version DESC LIMIT 1;

-- name: insert_policy
INSERT INTO alert_policy (version, content, author, reason, recorded_at, ledger_seq)
SELECT coalesce(max(version), 0) + 1, %(content)s, %(author)s, %(reason)s, %(recorded_at)s,
       ledger_append('configuration', 'alert_policy:' || coalesce(max(version), 0) + 1)
FROM alert_policy RETURNING version;

-- name: in_open_cases
SELECT DISTINCT case_alert.alert_id FROM case_alert JOIN case_file ON case_file.code = case_alert.case_code
WHERE case_alert.alert_id = ANY(%s) AND case_file.state <> 'closed';

-- name: insert_silence
INSERT INTO silence (matchers, starts_at, ends_at, author, reason, kind)
VALUES (%(matchers)s, %(starts_at)s, %(ends_at)s, %(author)s, %(reason)s, %(kind)s)
RETURNING id;

-- name: end_silence
-- One that has not begun yet is left with the shortest span that there is, so that the log keeps it.
UPDATE silence SET ends_at = greatest(%(now)s, starts_at + interval '1 microsecond'), ended_by = %(actor)s
WHERE id = %(id)s AND ends_at > %(now)s AND ended_by IS NULL;

-- name: silences
SELECT matchers, starts_at, ends_at, author, reason, ended_by, id AS silence_id, kind FROM silence
WHERE %(at)s::timestamptz IS NULL OR (starts_at <= %(at)s AND %(at)s < ends_at) ORDER BY starts_at, id;

-- name: save_receiver
INSERT INTO receiver (code, kind, settings, min_level, matchers, outside, enabled)
VALUES (%(code)s, %(kind)s, %(settings)s, %(min_level)s, %(matchers)s, %(outside)s, %(enabled)s)
ON CONFLICT (code) DO UPDATE SET kind = excluded.kind, settings = excluded.settings, min_level = excluded.min_level,
    matchers = excluded.matchers, outside = excluded.outside, enabled = excluded.enabled;

-- name: receivers
SELECT code, kind, settings, min_level, matchers, outside, enabled FROM receiver WHERE enabled OR NOT %(enabled_only)s ORDER BY code;

-- name: current_seq
SELECT coalesce(max(seq), 0) FROM ledger;
