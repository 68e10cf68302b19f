-- name: wait_for_migrators
-- Held to the end of the session: migrators queue up instead of colliding.
SELECT pg_advisory_lock(%s);

-- name: timescaledb_is_available
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');

-- name: has_migration_table
SELECT to_regclass('_yoyo_migration') IS NOT NULL;

-- name: applied_migrations
SELECT migration_id FROM _yoyo_migration;

-- name: edition
SELECT current_setting('timescaledb.license', true);

-- name: has_extension
SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL;

-- name: has_compressed_chunks
SELECT EXISTS (SELECT FROM timescaledb_information.chunks WHERE is_compressed);

-- name: ensure_rollups
SELECT ensure_rollups();
