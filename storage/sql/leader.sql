-- name: try_lock
SELECT pg_try_advisory_lock(1414213562, %s);

-- name: ping
SELECT 1;

-- name: unlock
SELECT pg_advisory_unlock(1414213562, %s);
