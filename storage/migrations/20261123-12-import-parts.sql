-- Parts of imported files that are stored exactly as they were read, so that the same rows again need no comparison.
-- depends: 20261123-09-run-inputs

CREATE TABLE import_part (
    content_sha256  text PRIMARY KEY CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    batch_id        bigint NOT NULL REFERENCES ingest_batch,
    rows            bigint NOT NULL CHECK (rows > 0)
);
COMMENT ON TABLE import_part IS 'Digest of sorted rows (datastream, time, end, result, sigma, quality, reasons) that one batch stored, all of them new. '
    'As long as that many rows of the span still carry the batch, none was corrected or removed.';
