-- name: claim
-- Items of one kind, oldest first, skipping what another worker holds; they are gone when the transaction commits.
DELETE FROM work_item WHERE id IN (
    SELECT id FROM work_item WHERE kind = %(kind)s ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING datastream_id, time_from, time_to;

-- name: claim_after
-- As claim, but for datastreams of which work of another kind still waits: what is undone there, or being done by another worker, comes first.
-- An item that has waited too long is held up only by what was left before it, or a datastream that is never at rest would wait for ever.
-- What comes first is gathered once: looked for anew for each item, it is read among all that was done since the last vacuum.
WITH first AS MATERIALIZED (
    SELECT datastream_id, min(id) AS oldest FROM work_item WHERE kind = %(first)s GROUP BY datastream_id)
DELETE FROM work_item WHERE id IN (
    SELECT item.id FROM work_item AS item LEFT JOIN first ON first.datastream_id = item.datastream_id
    WHERE item.kind = %(kind)s
      AND (first.oldest IS NULL
           OR first.oldest > item.id AND item.created_at <= clock_timestamp() - make_interval(secs => %(patience_s)s))
    ORDER BY item.id LIMIT %(limit)s FOR UPDATE OF item SKIP LOCKED)
RETURNING datastream_id, time_from, time_to;

-- name: claim_datastream
-- All items of one kind and datastream that no other worker holds; they are gone when the transaction commits.
DELETE FROM work_item WHERE id IN (
    SELECT id FROM work_item WHERE kind = %(kind)s AND datastream_id = %(datastream_id)s FOR UPDATE SKIP LOCKED)
RETURNING datastream_id, time_from, time_to;

-- name: waiting
-- Datastreams with waiting items of a kind, the one that waits longest first.
SELECT datastream_id FROM work_item WHERE kind = %(kind)s GROUP BY datastream_id ORDER BY min(id) LIMIT %(limit)s;

-- name: oldest_age
-- How long the oldest item of some kinds has waited, in seconds; the first of each kind is the first of its index.
SELECT extract(epoch FROM clock_timestamp() - min(first.created_at))::float8
FROM unnest(%s::text[]) AS wanted (kind)
CROSS JOIN LATERAL (SELECT created_at FROM work_item WHERE work_item.kind = wanted.kind ORDER BY id LIMIT 1) AS first;

-- name: pending
SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM work_item WHERE kind = %s;

-- name: enqueue
INSERT INTO work_item (kind, datastream_id, time_from, time_to)
SELECT %(kind)s, datastream_id, first_time, last_time FROM datastream_status
WHERE first_time IS NOT NULL AND (%(ids)s::integer[] IS NULL OR datastream_id = ANY (%(ids)s));

-- name: notify
SELECT pg_notify('groundwatch_work', '');
