-- The one ledger that orders every committed change, and the node's own configuration.
-- depends:

CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE ledger (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind IN ('batch','override','deletion','event','configuration','rule','alert','run')),
    reference    text        NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ledger_recorded_at ON ledger (recorded_at);
COMMENT ON TABLE ledger IS 'Sequence in commit order: "as of T" is the greatest seq recorded by T; the partners'' cursor is the same number.';

-- The lock is held to the end of the transaction, so a later sequence is never visible before an earlier one. Call it last.
CREATE FUNCTION ledger_append(entry_kind text, entry_reference text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    entry_seq bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(718281828);
    INSERT INTO ledger (kind, reference) VALUES (entry_kind, entry_reference) RETURNING seq INTO entry_seq;
    RETURN entry_seq;
END
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE node (
    only_one       boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    code           text NOT NULL,
    name_zh        text NOT NULL,
    name_en        text NOT NULL,
    region_code    text NOT NULL CHECK (region_code ~ '^[0-9]{6}$'),
    zone           text NOT NULL DEFAULT 'Asia/Shanghai',
    simulated      boolean NOT NULL DEFAULT false,
    attributes     jsonb NOT NULL DEFAULT '{}',
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE node IS 'This deployment: its code, city, zone. Days, months and licence years are those of zone.';

CREATE TABLE configuration_version (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    digest       text NOT NULL,
    content      jsonb NOT NULL,
    actor        text NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq   bigint NOT NULL REFERENCES ledger
);
COMMENT ON TABLE configuration_version IS 'Every configuration folder or item as applied, kept whole.';
