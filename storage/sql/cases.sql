-- name: lock_numbering
-- One case is numbered at a time.
SELECT pg_advisory_xact_lock(577215664);

-- name: next_number
-- The number after the greatest one of a region and year.
SELECT coalesce(max(substring(code FROM '[0-9]+$')::integer), 0) + 1 FROM case_file WHERE starts_with(code, %s);

-- name: lock_case
SELECT code FROM case_file WHERE code = %s FOR UPDATE;

-- name: insert_case
INSERT INTO case_file (code, title, region_code, state, owner, leader, due_at, escalated_to, opened_at, updated_at, closed_at, last_number)
VALUES (%(code)s, %(title)s, %(region_code)s, %(state)s, %(owner)s, %(leader)s, %(due_at)s, %(escalated_to)s, %(opened_at)s,
        %(updated_at)s, %(closed_at)s, %(last_number)s);

-- name: update_case
UPDATE case_file SET state = %(state)s, owner = %(owner)s, leader = %(leader)s, due_at = %(due_at)s, escalated_to = %(escalated_to)s,
    updated_at = %(updated_at)s, closed_at = %(closed_at)s, last_number = %(last_number)s
WHERE code = %(code)s;

-- name: insert_event
INSERT INTO case_event (case_code, number, step, actor, recorded_at, note, detail)
VALUES (%(case_code)s, %(number)s, %(step)s, %(actor)s, %(recorded_at)s, %(note)s, %(detail)s);

-- name: link_alert
INSERT INTO case_alert (case_code, alert_id) SELECT %(code)s, id FROM alert WHERE identifier = %(identifier)s RETURNING alert_id;

-- name: events_of
SELECT case_code, number, step, actor, recorded_at, note, detail FROM case_event WHERE case_code = ANY(%s) ORDER BY case_code, number;

-- name: list_codes
-- Newest change first; the key of a page is the last change and code that it showed.
SELECT code, updated_at FROM case_file
WHERE (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s))
  AND (%(owner)s::text IS NULL OR owner = %(owner)s) AND (%(region_code)s::text IS NULL OR starts_with(region_code, %(region_code)s))
  AND (%(overdue_at)s::timestamptz IS NULL OR (state <> 'closed' AND due_at < %(overdue_at)s))
  AND (%(since)s::timestamptz IS NULL OR opened_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR opened_at < %(until)s)
  AND (%(after_time)s::timestamptz IS NULL OR (updated_at, code) < (%(after_time)s, %(after_code)s))
ORDER BY updated_at DESC, code DESC LIMIT %(limit)s;

-- name: cases_of_alert
SELECT case_code FROM case_alert JOIN alert ON alert.id = case_alert.alert_id WHERE alert.identifier = %s ORDER BY case_code;

-- name: counts
SELECT state, count(*), count(*) FILTER (WHERE state <> 'closed' AND due_at < %(now)s) FROM case_file GROUP BY state;
