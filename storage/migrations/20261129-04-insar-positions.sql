-- The points of a delivery lose their index of positions: boxes are answered from the tiles, no query reads it, and building it took as
-- long as all else that is done at the end of loading a delivery.
-- depends: 20261123-13-raw-digests

DROP INDEX insar_point_position;

CREATE OR REPLACE FUNCTION insar_finish_loading(delivery integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    noun text;
    part text;
BEGIN
    FOREACH noun IN ARRAY ARRAY['insar_point', 'insar_tile'] LOOP
        part := noun || '_' || delivery;
        EXECUTE format('ALTER TABLE %I RENAME TO %I', noun || '_loading', part);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT one_delivery CHECK (delivery_id = %s)', part, delivery);
    END LOOP;
    part := 'insar_point_' || delivery;
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (delivery_id, point_no), ADD UNIQUE (delivery_id, pid)', part);
    EXECUTE format('ALTER TABLE insar_point ATTACH PARTITION %I FOR VALUES IN (%s)', part, delivery);
    EXECUTE format('ANALYZE %I', part);
    part := 'insar_tile_' || delivery;
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (delivery_id, tile_no)', part);
    EXECUTE format('CREATE INDEX ON %I USING gist (bounds)', part);
    EXECUTE format('ALTER TABLE insar_tile ATTACH PARTITION %I FOR VALUES IN (%s)', part, delivery);
END
$$;
