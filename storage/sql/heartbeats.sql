-- name: beat
INSERT INTO process_status (process, instance, pid, host, detail)
VALUES (%(process)s, %(instance)s, %(pid)s, %(host)s, %(detail)s)
ON CONFLICT (process, instance) DO UPDATE SET detail = excluded.detail, seen_at = clock_timestamp();

-- name: withdraw
DELETE FROM process_status WHERE process = %s AND instance = %s;

-- name: recent
-- Ages by the database's clock, so that hosts whose clocks differ are judged alike. A process is replaced when another one of its name
-- started after its last sign of life.
SELECT process, instance, pid, host, started_at, seen_at, detail,
       extract(epoch FROM clock_timestamp() - seen_at)::double precision AS age_s,
       EXISTS (SELECT FROM process_status AS other
               WHERE other.process = status.process AND other.instance <> status.instance AND other.started_at > status.seen_at) AS replaced
FROM process_status AS status
WHERE seen_at > clock_timestamp() - %s::interval
ORDER BY process, instance;

-- name: forget
DELETE FROM process_status WHERE seen_at < clock_timestamp() - %s::interval;
