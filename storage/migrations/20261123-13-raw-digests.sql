-- The same check of a digest without a regular expression, which took most of the time of storing a device's message.
-- depends: 20261123-12-import-parts

ALTER TABLE raw_payload DROP CONSTRAINT raw_payload_sha256_check;
ALTER TABLE raw_payload ADD CONSTRAINT raw_payload_sha256_check
    CHECK (length(sha256) = 64 AND translate(sha256, '0123456789abcdef', '') = '');
