-- A person who refuses a proposed step says so in the event log; analyses then look for no step there.
-- depends: 20261129-51-raw-digests

ALTER TABLE station_event DROP CONSTRAINT station_event_effect_check;
ALTER TABLE station_event ADD CONSTRAINT station_event_effect_check
    CHECK (effect IN ('offset','break','exclude','none','no_offset'));
