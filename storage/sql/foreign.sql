-- name: lock_sender
-- One message of a sender at a time, so that each finds the chain as the one before left it.
SELECT pg_advisory_xact_lock(1346269, hashtext(%s));

-- name: message
SELECT partner, sender, identifier, sent, status, message_type, level, reference_list, said, body, received_at
FROM foreign_message WHERE sender = %(sender)s AND identifier = %(identifier)s;

-- name: sent_of
-- When the named messages of a sender were sent, as far as they came.
SELECT identifier, sent FROM foreign_message WHERE sender = %(sender)s AND identifier = ANY(%(identifiers)s);

-- name: insert_message
INSERT INTO foreign_message (partner, sender, identifier, sent, status, message_type, level, reference_list, said, body, received_at, ledger_seq)
VALUES (%(partner)s, %(sender)s, %(identifier)s, %(sent)s, %(status)s, %(message_type)s, %(level)s, %(reference_list)s, %(said)s, %(body)s,
        %(received_at)s, ledger_append('alert', 'foreign:' || %(sender)s::text || ',' || %(identifier)s::text))
RETURNING id;

-- name: chains_of
-- The alerts of what a message refers to, and of what refers to it, oldest first.
SELECT DISTINCT chain.foreign_id
FROM foreign_message AS message JOIN foreign_chain AS chain ON chain.message_id = message.id
WHERE message.sender = %(sender)s
  AND (message.identifier = ANY(%(identifiers)s)
       OR message.reference_list @> jsonb_build_array(jsonb_build_object('sender', %(sender)s::text, 'identifier', %(identifier)s::text)))
ORDER BY chain.foreign_id;

-- name: insert_alert
INSERT INTO foreign_alert (partner, sender, state, status, level, acknowledged, updated_at)
VALUES (%(partner)s, %(sender)s, %(state)s, %(status)s, %(level)s, %(acknowledged)s, %(updated_at)s) RETURNING id;

-- name: update_alert
UPDATE foreign_alert SET state = %(state)s, status = %(status)s, level = %(level)s, acknowledged = %(acknowledged)s, updated_at = %(updated_at)s
WHERE id = %(id)s;

-- name: chain
INSERT INTO foreign_chain (message_id, foreign_id) VALUES (%(message_id)s, %(foreign_id)s);

-- name: join_messages
UPDATE foreign_chain SET foreign_id = %(into)s WHERE foreign_id = ANY(%(others)s);

-- name: join_acknowledgements
UPDATE foreign_acknowledgement SET foreign_id = %(into)s WHERE foreign_id = ANY(%(others)s);

-- name: drop_joined
DELETE FROM foreign_alert WHERE id = ANY(%(others)s);

-- name: lock_alert
SELECT id FROM foreign_alert WHERE id = %s FOR UPDATE;

-- name: messages_of
SELECT chain.foreign_id, message.partner, message.sender, message.identifier, message.sent, message.status, message.message_type, message.level,
       message.reference_list, message.said, message.body, message.received_at
FROM foreign_chain AS chain JOIN foreign_message AS message ON message.id = chain.message_id
WHERE chain.foreign_id = ANY(%s) ORDER BY chain.foreign_id, message.id;

-- name: acknowledgements_of
SELECT foreign_id, identifier, actor, note, recorded_at, acknowledged, body
FROM foreign_acknowledgement WHERE foreign_id = ANY(%s) ORDER BY foreign_id, recorded_at, identifier;

-- name: insert_acknowledgement
INSERT INTO foreign_acknowledgement (identifier, foreign_id, actor, note, recorded_at, acknowledged, body)
VALUES (%(identifier)s, %(foreign_id)s, %(actor)s, %(note)s, %(recorded_at)s, %(acknowledged)s, %(body)s);

-- name: list_alerts
SELECT id, updated_at FROM foreign_alert
WHERE (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s))
  AND (cardinality(%(statuses)s::text[]) = 0 OR status = ANY(%(statuses)s))
  AND (%(partner)s::text IS NULL OR partner = %(partner)s)
  AND (%(acknowledged)s::boolean IS NULL OR acknowledged = %(acknowledged)s)
  AND (%(after_time)s::timestamptz IS NULL OR (updated_at, id) < (%(after_time)s, %(after_id)s::bigint))
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s;

-- name: issued
-- Our own message of that identifier, for a partner's answer to it.
SELECT message.alert_id, message.sender, message.sent FROM cap_message AS message WHERE message.identifier = %s;

-- name: owed_answers
-- Of each firing alert the first message to a partner's receiver after the newest one that an Ack of that partner names.
WITH sent AS (
    SELECT alert.id AS alert_id, alert.identifier AS alert, message.identifier, notification.id AS place, notification.created_at AS since,
           notification.sent_at AS delivered_at,
           EXISTS (SELECT FROM foreign_message AS answer
                   WHERE answer.partner = %(partner)s AND answer.message_type = 'Ack'
                     AND answer.reference_list @> jsonb_build_array(jsonb_build_object('sender', message.sender,
                                                                                      'identifier', message.identifier))) AS answered
    FROM alert
    JOIN cap_message AS message ON message.alert_id = alert.id
    JOIN notification ON notification.idempotency_key = message.identifier || ':' || %(receiver)s
    WHERE alert.state = 'firing' AND alert.status = 'Actual' AND message.message_type IN ('Alert', 'Update')
)
SELECT DISTINCT ON (alert_id) alert_id, alert, identifier, since, delivered_at
FROM sent
WHERE place > (SELECT coalesce(max(other.place), 0) FROM sent AS other WHERE other.alert_id = sent.alert_id AND other.answered)
ORDER BY alert_id, place;
