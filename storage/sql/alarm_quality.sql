-- name: alert_exists
SELECT FROM alert WHERE id = %s;

-- name: insert_verdict
INSERT INTO alert_verdict (alert_id, verdict, actor, note, recorded_at)
VALUES (%(alert_id)s, %(verdict)s, %(actor)s, %(note)s, %(recorded_at)s);

-- name: verdicts_of
SELECT verdict, actor, note, recorded_at FROM alert_verdict WHERE alert_id = %s ORDER BY id;

-- name: episodes
-- Alerts that stood at any time of a period, with what people said last; history that nobody was told of and exercises are left out.
SELECT alert.identifier, alert.rule_code, alert.scope, alert.peak_level AS peak, alert.opened_at,
       ended.recorded_at AS ended_at, alert.acknowledged_at,
       coalesce(fired.times, '{}') AS fired, said.verdict
FROM alert
LEFT JOIN LATERAL (SELECT verdict FROM alert_verdict WHERE alert_id = alert.id ORDER BY id DESC LIMIT 1) AS said ON true
LEFT JOIN LATERAL (SELECT max(recorded_at) AS recorded_at FROM alert_transition WHERE alert_id = alert.id AND to_state = 'resolved') AS ended
    ON alert.state = 'resolved'
LEFT JOIN LATERAL (SELECT array_agg(recorded_at ORDER BY recorded_at) AS times FROM alert_transition
                   WHERE alert_id = alert.id AND kind IN ('fired', 'reopened')) AS fired ON true
WHERE alert.opened_at < %(end)s AND (ended.recorded_at IS NULL OR ended.recorded_at >= %(start)s)
  AND alert.status = 'Actual' AND alert.peak_level > 0 AND NOT coalesce((alert.memory ->> 'history')::boolean, false)
ORDER BY alert.opened_at, alert.id;

-- name: judged_of_rule
-- Episodes of a rule that people said something of, with what they said last.
SELECT alert.scope, alert.onset, alert.ended, said.verdict
FROM alert
JOIN LATERAL (SELECT verdict FROM alert_verdict WHERE alert_id = alert.id ORDER BY id DESC LIMIT 1) AS said ON true
WHERE alert.rule_code = %s AND alert.status = 'Actual' ORDER BY alert.onset, alert.id;

-- name: notices
SELECT receiver_code AS receiver, created_at AS at, sent_at AS delivered_at
FROM notification WHERE created_at >= %(start)s AND created_at < %(end)s ORDER BY id;
