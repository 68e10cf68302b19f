-- What people found an alert to be. A later word replaces an earlier one and both stay.
-- depends: 20261123-05-cases

CREATE TABLE alert_verdict (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id     bigint NOT NULL REFERENCES alert,
    verdict      text NOT NULL CHECK (verdict IN ('real','instrument','maintenance','natural','duplicate')),
    actor        text NOT NULL CHECK (actor <> ''),
    note         text NOT NULL DEFAULT '',
    recorded_at  timestamptz NOT NULL
);
CREATE INDEX alert_verdict_alert ON alert_verdict (alert_id, id DESC);
CREATE TRIGGER alert_verdict_append_only BEFORE UPDATE OR DELETE ON alert_verdict FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION audit_alert_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_append(NEW.actor, 'alert verdict', (SELECT identifier FROM alert WHERE id = NEW.alert_id),
                         jsonb_build_object('verdict', NEW.verdict, 'note', NEW.note));
    RETURN NULL;
END
$$;
CREATE TRIGGER alert_verdict_audited AFTER INSERT ON alert_verdict FOR EACH ROW EXECUTE FUNCTION audit_alert_verdict();

CREATE INDEX alert_opened ON alert (opened_at);
CREATE INDEX notification_created ON notification (created_at);
