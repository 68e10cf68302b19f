-- Rules, alerts with every transition, silences, the notification outbox and CAP messages.
-- depends: 20261122-04-analytics

CREATE TABLE rule (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code            text NOT NULL,
    version         integer NOT NULL CHECK (version >= 1),
    kind            text NOT NULL,
    name_zh         text NOT NULL,
    name_en         text NOT NULL,
    definition      jsonb NOT NULL,
    source          text NOT NULL,
    effective_from  timestamptz,
    enabled         boolean NOT NULL DEFAULT true,
    author          text NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger_seq      bigint NOT NULL REFERENCES ledger,
    UNIQUE (code, version)
);
COMMENT ON TABLE rule IS 'Rules are data: a change is a new version, the old one stays.';

CREATE TABLE alert (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identifier       text NOT NULL UNIQUE,
    rule_code        text NOT NULL,
    rule_version     integer NOT NULL,
    scope            text NOT NULL,
    station_id       integer REFERENCES station,
    datastream_id    integer REFERENCES datastream,
    state            text NOT NULL CHECK (state IN ('pending','firing','resolved')),
    level            smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
    peak_level       smallint NOT NULL CHECK (peak_level BETWEEN 0 AND 4),
    onset            timestamptz NOT NULL,
    ended            timestamptz,
    verdict          text NOT NULL CHECK (verdict IN ('breach','ok','cannot_tell')),
    confirmation     text NOT NULL CHECK (confirmation IN ('not_needed','awaited','confirmed','rejected')),
    confirmed_by     text,
    confirmed_at     timestamptz,
    acknowledged_by  text,
    acknowledged_at  timestamptz,
    acknowledged_note text,
    status           text NOT NULL DEFAULT 'Actual' CHECK (status IN ('Actual','Exercise','System','Test','Draft')),
    evidence         jsonb NOT NULL,
    memory           jsonb NOT NULL DEFAULT '{}',
    opened_at        timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    ledger_seq       bigint NOT NULL REFERENCES ledger,
    FOREIGN KEY (rule_code, rule_version) REFERENCES rule (code, version)
);
CREATE UNIQUE INDEX alert_one_open_per_scope ON alert (rule_code, scope) WHERE state <> 'resolved';
CREATE INDEX alert_updated ON alert (updated_at DESC, id DESC);
COMMENT ON COLUMN alert.evidence IS 'Window, values, method, versions, digest and the ledger sequence read: enough to recompute it.';

CREATE TABLE alert_transition (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id      bigint NOT NULL REFERENCES alert,
    from_state    text,
    to_state      text NOT NULL,
    from_level    smallint,
    to_level      smallint,
    kind          text NOT NULL,
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    actor         text NOT NULL,
    reason        text NOT NULL,
    evidence      jsonb NOT NULL DEFAULT '{}',
    ledger_seq    bigint NOT NULL REFERENCES ledger
);
CREATE INDEX alert_transition_alert ON alert_transition (alert_id, id);
CREATE TRIGGER alert_transition_append_only BEFORE UPDATE OR DELETE ON alert_transition FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE rule_state (
    rule_code      text NOT NULL,
    scope          text NOT NULL,
    rule_version   integer NOT NULL,
    verdict        text NOT NULL,
    level          smallint NOT NULL,
    value          double precision,
    reason         text NOT NULL DEFAULT '',
    evaluated_at   timestamptz NOT NULL,
    event_time     timestamptz,
    memory         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (rule_code, scope)
);
COMMENT ON TABLE rule_state IS 'Last verdict of each rule and scope, cannot_tell included: a work item of its own.';

CREATE TABLE silence (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    matchers    jsonb NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    author      text NOT NULL,
    reason      text NOT NULL CHECK (reason <> ''),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_by    text,
    CHECK (ends_at > starts_at)
);

CREATE TABLE receiver (
    code        text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('webhook','smtp','mqtt')),
    settings    jsonb NOT NULL,
    min_level   smallint NOT NULL DEFAULT 1,
    matchers    jsonb NOT NULL DEFAULT '{}',
    outside     boolean NOT NULL DEFAULT false,
    enabled     boolean NOT NULL DEFAULT true
);
COMMENT ON COLUMN receiver.outside IS 'True: leaves the house, so it waits for a person''s confirmation.';

CREATE TABLE notification (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key  text NOT NULL UNIQUE,
    alert_id         bigint REFERENCES alert,
    receiver_code    text NOT NULL REFERENCES receiver,
    message_type     text NOT NULL,
    payload          jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    state            text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting','sent','dead')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at          timestamptz,
    last_error       text
);
CREATE INDEX notification_due ON notification (receiver_code, id) WHERE state = 'waiting';

CREATE TABLE cap_message (
    identifier   text PRIMARY KEY,
    alert_id     bigint NOT NULL REFERENCES alert,
    sender       text NOT NULL,
    sent         timestamptz NOT NULL,
    message_type text NOT NULL,
    reference_list text NOT NULL DEFAULT '',
    body         text NOT NULL,
    ledger_seq   bigint NOT NULL REFERENCES ledger
);
CREATE INDEX cap_message_alert ON cap_message (alert_id, sent);
CREATE TRIGGER cap_message_append_only BEFORE UPDATE OR DELETE ON cap_message FOR EACH ROW EXECUTE FUNCTION refuse_change();
