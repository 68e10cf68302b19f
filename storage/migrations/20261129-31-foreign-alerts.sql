-- Alerts of partners: their CAP messages as received, what a chain of them says, and who took notice here.
-- depends: 20261129-04-insar-positions

CREATE TABLE foreign_alert (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner       text NOT NULL REFERENCES partner (code),
    sender        text NOT NULL,
    state         text NOT NULL CHECK (state IN ('active','ended','cancelled')),
    status        text NOT NULL CHECK (status IN ('Actual','Exercise','System','Test','Draft')),
    level         smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
    acknowledged  boolean NOT NULL DEFAULT false,
    updated_at    timestamptz NOT NULL
);
CREATE INDEX foreign_alert_updated ON foreign_alert (updated_at DESC, id DESC);
COMMENT ON TABLE foreign_alert IS 'Where a partner''s alert stands, as its messages tell it: written with them, read by lists. The messages decide.';

CREATE TABLE foreign_message (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner       text NOT NULL REFERENCES partner (code),
    sender        text NOT NULL,
    identifier    text NOT NULL,
    sent          timestamptz NOT NULL,
    status        text NOT NULL,
    message_type  text NOT NULL CHECK (message_type IN ('Alert','Update','Cancel','Ack','Error')),
    level         smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
    reference_list jsonb NOT NULL,
    said          jsonb NOT NULL,
    body          text NOT NULL,
    received_at   timestamptz NOT NULL,
    ledger_seq    bigint NOT NULL REFERENCES ledger,
    UNIQUE (sender, identifier)
);
CREATE TRIGGER foreign_message_append_only BEFORE UPDATE OR DELETE ON foreign_message FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE foreign_chain (
    message_id  bigint PRIMARY KEY REFERENCES foreign_message,
    foreign_id  bigint NOT NULL REFERENCES foreign_alert
);
CREATE INDEX foreign_chain_alert ON foreign_chain (foreign_id);
COMMENT ON TABLE foreign_chain IS 'Which alert a message belongs to: a message that came late may show that two chains are one.';

CREATE TABLE foreign_acknowledgement (
    identifier    text PRIMARY KEY,
    foreign_id    bigint NOT NULL REFERENCES foreign_alert,
    actor         text NOT NULL CHECK (actor <> ''),
    note          text NOT NULL DEFAULT '',
    recorded_at   timestamptz NOT NULL,
    acknowledged  text[] NOT NULL,
    body          text NOT NULL
);
CREATE INDEX foreign_acknowledgement_alert ON foreign_acknowledgement (foreign_id);

CREATE FUNCTION audit_foreign_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_append('partner ' || NEW.partner, 'foreign ' || NEW.message_type, NEW.sender || ' ' || NEW.identifier,
                         jsonb_build_object('status', NEW.status, 'level', NEW.level,
                                            'sha256', encode(sha256(convert_to(NEW.body, 'UTF8')), 'hex')));
    RETURN NULL;
END
$$;
CREATE TRIGGER foreign_message_audited AFTER INSERT ON foreign_message FOR EACH ROW EXECUTE FUNCTION audit_foreign_message();

CREATE FUNCTION audit_foreign_acknowledgement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_append(NEW.actor, 'acknowledge foreign alert', NEW.identifier,
                         jsonb_build_object('acknowledged', to_jsonb(NEW.acknowledged), 'note', NEW.note));
    RETURN NULL;
END
$$;
CREATE TRIGGER foreign_acknowledgement_audited AFTER INSERT ON foreign_acknowledgement
    FOR EACH ROW EXECUTE FUNCTION audit_foreign_acknowledgement();
