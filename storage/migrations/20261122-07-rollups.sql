-- Roll-ups of one name and one shape on both editions of TimescaleDB, in the zone of the node.
-- depends: 20261122-06-access

CREATE TABLE rollup_setting (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    zone       text NOT NULL,
    edition    text NOT NULL CHECK (edition IN ('apache','timescale'))
);
COMMENT ON TABLE rollup_setting IS 'For which zone and edition the roll-ups stand; ensure_rollups rebuilds them when either changes.';

-- One definition for both editions. n counts every row, all else the usable ones (quality good or unknown).
CREATE FUNCTION rollup_query(width text, zone text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT format(
        'SELECT datastream_id, time_bucket(%L::interval, phenomenon_time, %L) AS bucket, count(*) AS n, '
        'count(result) FILTER (WHERE quality IN (1, 2)) AS n_good, avg(result) FILTER (WHERE quality IN (1, 2)) AS mean, '
        'min(result) FILTER (WHERE quality IN (1, 2)) AS min, max(result) FILTER (WHERE quality IN (1, 2)) AS max, '
        'sum(result) FILTER (WHERE quality IN (1, 2)) AS sum, '
        'first(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)) AS first, '
        'last(result, phenomenon_time) FILTER (WHERE quality IN (1, 2)) AS last FROM observation', width, zone)
$$;

CREATE FUNCTION drop_rollup(rollup_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(rollup_name) AND relkind = 'v') THEN
        EXECUTE format('DROP MATERIALIZED VIEW %I', rollup_name);
    ELSE
        EXECUTE format('DROP TABLE IF EXISTS %I', rollup_name);
    END IF;
END
$$;

CREATE FUNCTION create_rollup(rollup_name text, width text, zone text, edition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM drop_rollup(rollup_name);
    IF edition = 'timescale' THEN
        EXECUTE format('CREATE MATERIALIZED VIEW %I WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS %s '
                       'GROUP BY 1, 2 WITH NO DATA', rollup_name, rollup_query(width, zone));
        PERFORM add_continuous_aggregate_policy(rollup_name, start_offset => NULL, end_offset => width::interval,
                                                schedule_interval => interval '1 hour');
    ELSE
        EXECUTE format('CREATE TABLE %I (datastream_id integer NOT NULL, bucket timestamptz NOT NULL, n bigint NOT NULL, '
                       'n_good bigint NOT NULL, mean double precision, min double precision, max double precision, '
                       'sum double precision, first double precision, last double precision, '
                       'PRIMARY KEY (datastream_id, bucket))', rollup_name);
    END IF;
END
$$;

-- Roll-ups for the node's zone on this server's edition; what stands already is left alone, so that it can be called at any time.
CREATE FUNCTION ensure_rollups() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    wanted_zone    text := coalesce((SELECT zone FROM node), 'Asia/Shanghai');
    wanted_edition text := coalesce(nullif(current_setting('timescaledb.license', true), ''), 'apache');
BEGIN
    PERFORM pg_advisory_xact_lock(141421356);
    IF EXISTS (SELECT FROM rollup_setting WHERE zone = wanted_zone AND edition = wanted_edition) THEN
        RETURN false;
    END IF;
    PERFORM create_rollup('observation_1h', '1 hour', 'UTC', wanted_edition);
    PERFORM create_rollup('observation_1d', '1 day', wanted_zone, wanted_edition);
    PERFORM create_rollup('observation_1mo', '1 month', wanted_zone, wanted_edition);
    IF wanted_edition = 'timescale' THEN
        ALTER TABLE observation SET (timescaledb.compress, timescaledb.compress_segmentby = 'datastream_id',
                                     timescaledb.compress_orderby = 'phenomenon_time');
        PERFORM add_compression_policy('observation', interval '2 years', if_not_exists => true);
    END IF;
    INSERT INTO rollup_setting (zone, edition) VALUES (wanted_zone, wanted_edition)
    ON CONFLICT (only_one) DO UPDATE SET zone = excluded.zone, edition = excluded.edition;
    INSERT INTO work_item (kind, datastream_id, time_from, time_to)
    SELECT 'rollup', datastream_id, first_time, last_time FROM datastream_status WHERE first_time IS NOT NULL;
    RETURN true;
END
$$;

DO $$ BEGIN
    PERFORM ensure_rollups();
END $$;
