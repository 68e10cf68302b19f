-- Work of the analytics is claimed a datastream at a time while it gathers for minutes: without an index each claim read all that waits.
-- depends: 20261129-61-import-files

CREATE INDEX work_item_analyse ON work_item (datastream_id) WHERE kind = 'analyse';
