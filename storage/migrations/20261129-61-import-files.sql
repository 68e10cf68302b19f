-- Files of which every row is stored as it was read, so that the very same file needs no reading again.
-- depends: 20261129-52-no-offset

ALTER TABLE import_part
    ADD COLUMN datastream_low   integer,
    ADD COLUMN datastream_high  integer,
    ADD COLUMN time_first       timestamptz,
    ADD COLUMN time_last        timestamptz;
COMMENT ON COLUMN import_part.datastream_low IS 'With the three beside it where the rows of the part lie; NULL in parts of before.';

CREATE TABLE import_file (
    key_sha256    text PRIMARY KEY CHECK (key_sha256 ~ '^[0-9a-f]{64}$'),
    contents      text[] NOT NULL CHECK (cardinality(contents) > 0),
    rows          bigint NOT NULL CHECK (rows > 0),
    stations      text[] NOT NULL,
    notes         jsonb NOT NULL,
    register_seq  bigint NOT NULL
);
COMMENT ON TABLE import_file IS 'Digest of a file with all that decides how it is read, and the parts (import_part) that its rows were stored as. It counts as '
    'long as every part stands and no register has changed: what a row means may hang on a station, a datastream or an event.';
