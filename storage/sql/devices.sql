-- name: device
SELECT device.protocol, device.identity, station.code AS station, device.status, device.password, device.note, device.attributes
FROM device LEFT JOIN station ON station.id = device.station_id
WHERE device.protocol = %(protocol)s AND device.identity = %(identity)s;

-- name: devices
SELECT device.protocol, device.identity, station.code AS station, device.status, device.password, device.note, device.attributes
FROM device LEFT JOIN station ON station.id = device.station_id
WHERE (device.protocol, device.identity) > (%(protocol)s, %(identity)s)
ORDER BY device.protocol, device.identity LIMIT %(limit)s;

-- name: station_id
SELECT id FROM station WHERE lower(code) = lower(%s);

-- name: upsert_device
INSERT INTO device (protocol, identity, station_id, status, password, note, attributes, ledger_seq)
VALUES (%(protocol)s, %(identity)s, %(station_id)s, %(status)s, %(password)s, %(note)s, %(attributes)s,
        ledger_append('configuration', 'device:' || %(protocol)s || ':' || %(identity)s))
ON CONFLICT (protocol, identity) DO UPDATE SET station_id = excluded.station_id, status = excluded.status,
    password = excluded.password, note = excluded.note, attributes = excluded.attributes, ledger_seq = excluded.ledger_seq;

-- name: delete_device
DELETE FROM device WHERE protocol = %(protocol)s AND identity = %(identity)s
RETURNING ledger_append('configuration', 'device:' || protocol || ':' || identity);

-- name: unknown_devices
-- Frames of nobody's device, by the identity that they carry; what was admitted since and not yet replayed is told apart by the join.
SELECT entry.device, min(raw.received_at) AS first_seen, max(raw.received_at) AS last_seen,
       count(DISTINCT entry.raw_payload_id) AS frames, max(batch.source_kind) AS transport, max(raw.source) AS source
FROM quarantine AS entry
JOIN ingest_batch AS batch ON batch.id = entry.batch_id
JOIN raw_payload AS raw ON raw.id = entry.raw_payload_id
WHERE entry.resolved_at IS NULL AND entry.device > %(after)s AND entry.code = 'unknown_device'
GROUP BY entry.device ORDER BY entry.device LIMIT %(limit)s;

-- name: open_entries_of_device
SELECT entry.id, entry.batch_id, entry.raw_payload_id, entry.station_code, entry.line, entry.code, entry.reason, entry.raw,
       entry.received_at, entry.resolved_at, batch.source, batch.source_kind
FROM quarantine AS entry JOIN ingest_batch AS batch ON batch.id = entry.batch_id
WHERE entry.resolved_at IS NULL AND entry.device = %(device)s AND entry.id > %(after)s ORDER BY entry.id LIMIT %(limit)s;

-- name: open_aliases
-- What waits of an edge node and of its devices for the births that name its aliases.
SELECT entry.id, entry.batch_id, entry.raw_payload_id, entry.station_code, entry.line, entry.code, entry.reason, entry.raw,
       entry.received_at, entry.resolved_at, batch.source, batch.source_kind
FROM quarantine AS entry JOIN ingest_batch AS batch ON batch.id = entry.batch_id
WHERE entry.resolved_at IS NULL AND entry.code = 'alias' AND entry.id > %(after)s
  AND (entry.device = %(device)s OR starts_with(entry.device, %(device)s || '/')) ORDER BY entry.id LIMIT %(limit)s;

-- name: newest_frame
-- The newest stored frame of a device that nobody knows, to show what it sends before it is admitted.
SELECT raw.body, raw.received_at
FROM quarantine AS entry JOIN raw_payload AS raw ON raw.id = entry.raw_payload_id
WHERE entry.resolved_at IS NULL AND entry.device = %(device)s ORDER BY raw.received_at DESC, raw.id DESC LIMIT 1;

-- name: notify
SELECT pg_notify('groundwatch_register', '');

-- name: audit
SELECT audit_append(%s, %s, %s, %s);
