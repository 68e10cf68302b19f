-- Users, partners, keys and the hash-chained audit log.
-- depends: 20261122-05-alerts

CREATE TABLE account (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    display_name   text NOT NULL,
    role           text NOT NULL CHECK (role IN ('operator','viewer','supervisor','analyst','admin')),
    password_hash  text,
    enabled        boolean NOT NULL DEFAULT true,
    attributes     jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE partner (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    name_zh     text NOT NULL,
    name_en     text NOT NULL,
    agreement   jsonb NOT NULL,
    source      text NOT NULL,
    enabled     boolean NOT NULL DEFAULT true
);
COMMENT ON COLUMN partner.agreement IS 'Datasets, fields, rounding, cadence, time to acknowledge: what the partner may see.';

CREATE TABLE api_key (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_hash     text NOT NULL UNIQUE,
    prefix       text NOT NULL,
    role         text NOT NULL CHECK (role IN ('device','operator','viewer','supervisor','analyst','admin','partner')),
    account_id   integer REFERENCES account,
    partner_id   integer REFERENCES partner,
    station_id   integer REFERENCES station,
    note         text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT a_device_key_names_its_station CHECK (role <> 'device' OR station_id IS NOT NULL),
    CONSTRAINT a_partner_key_names_its_partner CHECK (role <> 'partner' OR partner_id IS NOT NULL)
);
COMMENT ON COLUMN api_key.key_hash IS 'SHA-256 of a 256-bit random key; the key itself is shown once and never stored.';

CREATE TABLE audit_log (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor        text NOT NULL,
    action       text NOT NULL,
    subject      text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}',
    previous_hash text NOT NULL,
    entry_hash   text NOT NULL
);
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION audit_append(entry_actor text, entry_action text, entry_subject text, entry_detail jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before_hash text;
    entry_time  timestamptz := clock_timestamp();
    entry_id    bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(314159265);
    SELECT entry_hash INTO before_hash FROM audit_log ORDER BY id DESC LIMIT 1;
    before_hash := coalesce(before_hash, repeat('0', 64));
    INSERT INTO audit_log (recorded_at, actor, action, subject, detail, previous_hash, entry_hash)
    VALUES (entry_time, entry_actor, entry_action, entry_subject, entry_detail, before_hash,
            encode(sha256(convert_to(concat_ws('|', before_hash, extract(epoch FROM entry_time)::text, entry_actor, entry_action,
                                               entry_subject, entry_detail::text), 'UTF8')), 'hex'))
    RETURNING id INTO entry_id;
    RETURN entry_id;
END
$$;
COMMENT ON TABLE audit_log IS 'Hash chain: entry_hash = sha256(previous_hash|epoch|actor|action|subject|detail).';
