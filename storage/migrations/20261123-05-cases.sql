-- Cases with every step, and one hash chain over what people and the machine do to alerts and cases.
-- depends: 20261123-04-rules

CREATE TABLE case_file (
    code          text PRIMARY KEY,
    title         text NOT NULL CHECK (title <> ''),
    region_code   text,
    state         text NOT NULL CHECK (state IN ('collected','verified','assigned','handling','tracking','closed')),
    owner         text,
    leader        text,
    due_at        timestamptz,
    escalated_to  text,
    opened_at     timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    closed_at     timestamptz,
    last_number   integer NOT NULL
);
CREATE INDEX case_file_updated ON case_file (updated_at DESC, code DESC);
CREATE INDEX case_file_due ON case_file (due_at) WHERE state <> 'closed';
COMMENT ON TABLE case_file IS 'Where each case stands, as its events tell it: written with them, read by lists. The events decide.';

CREATE TABLE case_event (
    case_code    text NOT NULL REFERENCES case_file,
    number       integer NOT NULL CHECK (number >= 1),
    step         text NOT NULL CHECK (step IN ('collect','verify','dismiss','assign','handle','follow_up','close','reopen','link',
                                               'attach','comment','escalate')),
    actor        text NOT NULL,
    recorded_at  timestamptz NOT NULL,
    note         text NOT NULL DEFAULT '',
    detail       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (case_code, number)
);
CREATE TRIGGER case_event_append_only BEFORE UPDATE OR DELETE ON case_event FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE case_alert (
    case_code   text NOT NULL REFERENCES case_file,
    alert_id    bigint NOT NULL REFERENCES alert,
    PRIMARY KEY (case_code, alert_id)
);
CREATE INDEX case_alert_alert ON case_alert (alert_id);
COMMENT ON TABLE case_alert IS 'Several alerts may lead to one case; an alert that was reopened may stand in more than one.';

-- Every step in the life of an alert or a case enters the audit chain in the transaction that takes it: neither can be without the other.
CREATE FUNCTION audit_alert_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    alert_identifier text := (SELECT identifier FROM alert WHERE id = NEW.alert_id);
BEGIN
    PERFORM audit_append(NEW.actor, 'alert ' || NEW.kind, alert_identifier,
                         jsonb_build_object('transition', NEW.id, 'from_state', NEW.from_state, 'to_state', NEW.to_state,
                                            'from_level', NEW.from_level, 'to_level', NEW.to_level, 'occurred_at', NEW.occurred_at,
                                            'reason', NEW.reason, 'digest', NEW.evidence -> 'digest'));
    RETURN NULL;
END
$$;
CREATE TRIGGER alert_transition_audited AFTER INSERT ON alert_transition FOR EACH ROW EXECUTE FUNCTION audit_alert_transition();

CREATE FUNCTION audit_case_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_append(NEW.actor, 'case ' || NEW.step, NEW.case_code,
                         jsonb_build_object('number', NEW.number, 'note', NEW.note, 'detail', NEW.detail));
    RETURN NULL;
END
$$;
CREATE TRIGGER case_event_audited AFTER INSERT ON case_event FOR EACH ROW EXECUTE FUNCTION audit_case_event();
