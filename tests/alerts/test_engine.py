"""What becomes of alerts when observations come, change, stop, and when people decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.cap import parse
from domain.alert import AlertState, Confirmation, Level, Verdict
from domain.alerting import Silence
from domain.errors import ConflictError, InputError, NotFoundError
from domain.licence import Limit
from domain.model import Datastream, EventEffect, EventKind, Station, StationEvent, StationKind
from tests.alerts.fakes import DEPTH, PARTNER, RATE, SILENT, STAFF, T0, World

RATE_CODE = "WY01:displacement_up_rate_12mo"
DEPTH_CODE = "W7:depth_to_water"


def day(number: float):
    return T0 + timedelta(days=number)


def test_a_breach_opens_one_alert_with_message_and_notification_in_one_transaction():
    world = World(DEPTH)
    world.store.save_receiver(STAFF)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    before = world.store.transactions
    world.feed(DEPTH_CODE, [(1, 12.3)])
    assert world.store.transactions == before + 1
    (alert,) = world.alerts
    assert (alert.state, alert.level, alert.onset, alert.confirmation) == (
        AlertState.FIRING,
        Level.YELLOW,
        day(1),
        Confirmation.NOT_NEEDED,
    )
    assert world.messages == ["Alert"]
    (notification,) = world.store.notifications()
    assert notification.payload["alert"]["value"] == 12.3
    assert notification.payload["alert"]["limit"] == 12.0
    assert parse(notification.payload["cap"].encode()) is not None


def test_a_failure_while_recording_leaves_nothing_behind(monkeypatch):
    world = World(DEPTH)
    world.store.save_receiver(STAFF)

    def fail(*_args, **_named):
        raise RuntimeError("disk full")

    monkeypatch.setattr("alerts.recorder.payload_of", fail)
    with pytest.raises(RuntimeError):
        world.feed(DEPTH_CODE, [(1, 12.3)])
    assert not world.alerts
    assert not world.store.tables.cap
    assert not world.store.tables.states


def test_a_rate_that_dithers_around_its_limit_is_one_alert_without_flapping():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    for number, rate in enumerate([9.8, 10.2, 9.8, 10.2, 9.8, 10.2]):
        world.feed(RATE_CODE, [(number, -rate)], sigma=0.1)
    (alert,) = world.alerts
    assert alert.level is Level.YELLOW
    assert world.messages == ["Alert", "Update"]  # blue, then yellow once, and it stays yellow
    assert [item.kind for item in world.store.transitions(1)] == ["fired", "raised"]


def test_corrected_data_that_lower_the_level_are_an_update_that_references_the_first():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -11.0)])
    world.feed(RATE_CODE, [(0, -7.0)], now=day(1))
    (alert,) = world.alerts
    assert (alert.state, alert.level) == (AlertState.FIRING, Level.BLUE)
    assert world.messages == ["Alert", "Update"]
    first, second = world.store.tables.cap
    assert first.identifier in second.reference_list


def test_corrected_data_that_take_the_breach_away_are_a_cancel_and_an_end_is_none():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -11.0)])
    world.feed(RATE_CODE, [(0, -1.0)], now=day(1))
    assert world.messages == ["Alert", "Cancel"]
    assert world.alerts[0].state is AlertState.RESOLVED
    world.feed(RATE_CODE, [(0, -1.0), (2, -1.5)], now=day(3))
    assert world.messages == ["Alert", "Cancel"]
    other = World(RATE)
    other.feed(RATE_CODE, [(0, -11.0)])
    other.feed(RATE_CODE, [(1, -1.0)])
    assert other.messages == ["Alert", "Update"]
    assert other.alerts[0].ended == day(1)
    assert "AllClear" in other.store.tables.cap[1].body


def test_a_breach_that_comes_back_into_a_cancelled_alert_reopens_it_and_is_no_second_alert():
    world = World(RATE)
    for rate in (-11.0, -1.0, -11.0):
        world.feed(RATE_CODE, [(0, rate)], now=day(1))
    assert len(world.alerts) == 1
    assert world.alerts[0].state is AlertState.FIRING
    assert world.messages == ["Alert", "Cancel", "Update"]


def test_a_backfill_of_old_exceedances_is_one_silent_record():
    world = World(DEPTH)
    world.store.save_receiver(STAFF)
    world.feed(DEPTH_CODE, [(60, 9.0)])
    world.feed(DEPTH_CODE, [(hour / 24, 14.0 if hour % 24 < 6 else 8.0) for hour in range(960)], now=day(61))
    world.feed(DEPTH_CODE, [(hour / 24, 14.0 if hour % 24 < 6 else 8.0) for hour in range(960)], now=day(62))
    (alert,) = world.alerts
    assert (alert.state, alert.peak_level) == (AlertState.RESOLVED, Level.YELLOW)
    assert alert.evidence["episodes_total"] == 40
    assert world.messages == []
    assert world.store.notifications() == []


def test_a_gap_or_a_bad_value_resolves_nothing_and_is_a_work_item():
    world = World(DEPTH)
    world.feed(DEPTH_CODE, [(0, 13.0)])
    world.feed(DEPTH_CODE, [(1, 3.0)], quality=4)
    (alert,) = world.alerts
    assert (alert.state, alert.verdict) == (AlertState.FIRING, Verdict.CANNOT_TELL)
    (state,) = world.store.rule_states(verdict="cannot_tell")
    assert state.reason == "no_usable_value"
    world.feed(DEPTH_CODE, [(2, 13.0)])
    assert world.alerts[0].verdict is Verdict.BREACH
    assert world.messages == ["Alert"]


def test_an_interim_rate_waits_for_a_person_and_tells_nobody():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.feed(RATE_CODE, [(0, -12.0)], quality=2)
    (alert,) = world.alerts
    assert (alert.state, alert.confirmation, alert.verdict) == (AlertState.PENDING, Confirmation.AWAITED, Verdict.CANNOT_TELL)
    assert world.messages == []
    confirmed = world.engine.confirm(alert.identifier, "王工", "second survey agrees", day(1))
    assert (confirmed.state, confirmed.level, confirmed.confirmed_by) == (AlertState.FIRING, Level.YELLOW, "王工")
    assert world.messages == ["Alert"]
    assert len(world.store.notifications()) == 1


def test_a_rate_without_sigma_waits_too_and_one_within_its_sigma_has_no_colour():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -12.0)], sigma=float("nan"))
    assert world.alerts[0].confirmation is Confirmation.AWAITED
    other = World(RATE)
    other.feed(RATE_CODE, [(0, -8.0)], sigma=10.0)
    assert other.alerts == []
    assert other.store.rule_states()[0].reason == "not_significant"
    other.feed(RATE_CODE, [(1, -8.0)], sigma=1.4)
    assert other.alerts[0].level is Level.BLUE


def test_orange_waits_for_a_person_and_a_rejection_resolves_it():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.feed(RATE_CODE, [(0, -22.0)])
    (alert,) = world.alerts
    assert (alert.state, alert.level, alert.confirmation) == (AlertState.FIRING, Level.ORANGE, Confirmation.AWAITED)
    assert world.messages == []
    rejected = world.engine.reject(alert.alert_id, "李工", "antenna was moved", day(1))
    assert (rejected.state, rejected.confirmation) == (AlertState.RESOLVED, Confirmation.REJECTED)
    world.feed(RATE_CODE, [(2, -23.0)])
    assert len(world.alerts) == 1
    assert world.messages == []
    world.feed(RATE_CODE, [(3, -33.0)])  # worse than what was rejected: it is news again
    assert world.alerts[0].state is AlertState.FIRING
    assert world.alerts[0].confirmation is Confirmation.AWAITED
    world.engine.confirm(1, "李工", None, day(4))
    assert world.messages == ["Alert"]
    assert len(world.alerts) == 1


def test_a_person_who_calls_an_issued_alert_false_cancels_it():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -12.0)])
    world.engine.reject(1, "李工", None, day(1))
    assert world.messages == ["Alert", "Cancel"]
    with pytest.raises(ConflictError):
        world.engine.confirm(1, "李工", None, day(1))


def test_a_partner_outside_hears_only_what_a_person_confirmed():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.store.save_receiver(PARTNER)
    world.feed(RATE_CODE, [(0, -12.0)])
    assert [item.receiver_code for item in world.store.notifications()] == ["staff"]
    assert world.alerts[0].confirmation is Confirmation.AWAITED
    world.engine.confirm(1, "王工", None, day(1))
    world.engine.confirm(1, "王工", None, day(1))
    assert sorted(item.receiver_code for item in world.store.notifications()) == ["partner", "staff"]
    world.feed(RATE_CODE, [(2, -1.0)])
    assert [item.receiver_code for item in world.store.notifications()].count("partner") == 2


def test_a_raise_beyond_the_confirmed_level_waits_again():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -21.0)])
    world.engine.confirm(1, "王工", None, day(0.1))
    assert world.messages == ["Alert"]
    world.feed(RATE_CODE, [(1, -31.0)])
    assert world.alerts[0].confirmation is Confirmation.AWAITED
    assert world.messages == ["Alert"]
    world.engine.confirm(1, "王工", None, day(1.1))
    assert world.messages == ["Alert", "Update"]


def test_a_receiver_gets_only_levels_and_stations_that_it_asked_for():
    world = World(RATE)
    world.store.save_receiver(replace(STAFF, code="yellow-up", min_level=Level.YELLOW))
    world.store.save_receiver(replace(STAFF, code="elsewhere", matchers={"region": "3205*"}))
    world.store.save_receiver(replace(STAFF, code="here", matchers={"region": ["3304*"]}))
    world.feed(RATE_CODE, [(0, -7.0)])
    assert [item.receiver_code for item in world.store.notifications()] == ["here"]
    world.feed(RATE_CODE, [(1, -12.0)])
    assert {item.receiver_code for item in world.store.notifications()} == {"here", "yellow-up"}
    world.feed(RATE_CODE, [(2, -1.0)])  # whoever heard of it hears that it is over
    assert [item.receiver_code for item in world.store.notifications()].count("yellow-up") == 2


def test_a_silence_holds_notifications_back_but_never_evaluation():
    world = World(DEPTH)
    world.store.save_receiver(STAFF)
    silence = world.store.add_silence(Silence({"station": "W7"}, day(0), day(10), "王工", "pump test"))
    world.feed(DEPTH_CODE, [(1, 13.0)])
    assert world.alerts[0].state is AlertState.FIRING
    assert world.store.notifications() == []
    assert "suppressed" in [item.kind for item in world.store.transitions(1)]
    world.engine.tick(day(5))
    assert world.store.notifications() == []
    world.store.end_silence(silence.silence_id or 0, "王工", day(6))
    world.engine.tick(day(6.1))
    world.engine.tick(day(6.2))
    assert len(world.store.notifications()) == 1


def test_a_silent_station_is_one_instrument_alarm_that_stays_inside_and_ends_with_the_data():
    world = World(SILENT)
    world.store.save_receiver(STAFF)
    world.store.save_receiver(PARTNER)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(T0 + timedelta(hours=2))
    assert world.alerts == []
    for minutes in (181, 182, 400):
        world.engine.tick(T0 + timedelta(minutes=minutes))
    (alert,) = world.alerts
    assert (alert.scope, alert.level, alert.confirmation, alert.onset) == (
        "W7",
        Level.BLUE,
        Confirmation.NOT_NEEDED,
        T0 + timedelta(hours=3),
    )
    assert [item.receiver_code for item in world.store.notifications()] == ["staff"]
    world.engine.tick(T0 + timedelta(hours=25))
    assert world.alerts[0].level is Level.YELLOW
    world.feed(DEPTH_CODE, [(1.1, 9.0)])
    world.engine.tick(day(1.11))
    assert world.alerts[0].state is AlertState.RESOLVED
    assert world.messages == ["Alert", "Update", "Update"]


def test_a_datastream_without_interval_or_observation_is_never_called_silent():
    world = World(SILENT)
    world.registers.add(Station("X", StationKind.BENCHMARK, "点", "Mark"), Datastream("X", "height", "m", datum_code="CN-H85"))
    world.feed("X:height", [(0, 2.0)])
    world.engine.tick(day(400))
    states = {state.scope: state for state in world.store.rule_states()}
    assert states["X"].verdict is Verdict.CANNOT_TELL
    assert states["W7"].verdict is Verdict.CANNOT_TELL
    assert world.alerts == []


def test_a_changed_rule_closes_its_alert_without_calling_it_false():
    from alerts.rules import parse_rule

    world = World(DEPTH)
    world.feed(DEPTH_CODE, [(0, 13.0)])
    world.store.save_rule(parse_rule({**DEPTH, "levels": {"blue": 20}}), now=day(1))
    world.engine.tick(day(1))
    assert world.alerts[0].state is AlertState.RESOLVED
    assert world.store.transitions(1)[-1].kind == "rule_changed"
    assert world.messages == ["Alert", "Update"]


def test_only_rules_whose_scope_matches_are_evaluated():
    world = World(DEPTH, RATE, {**RATE, "code": "other", "scope": {"property": "head_rate_12mo"}})
    change = world.observations.put(world.identity(DEPTH_CODE), [(T0, 9.0, 0.1, 1)])
    assert world.engine.evaluate([change], day(1)).evaluated == 1


def test_an_acknowledgement_is_durable_and_the_first_one_counts():
    world = World(DEPTH)
    world.feed(DEPTH_CODE, [(0, 13.0)])
    first = world.engine.acknowledge(1, "王工", "on my way", day(1))
    again = world.engine.acknowledge(world.alerts[0].identifier, "李工", "me too", day(2))
    assert first == again
    assert again.acknowledged_by == "王工"
    world.feed(DEPTH_CODE, [(3, 15.5)])
    assert world.alerts[0].acknowledged_by == "王工"
    with pytest.raises(InputError):
        world.engine.acknowledge(1, " ", None, day(1))
    with pytest.raises(NotFoundError):
        world.engine.acknowledge(99, "王工", None, day(1))


def test_an_exercise_reaches_only_who_asks_for_exercises():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.store.save_receiver(replace(STAFF, code="drill", matchers={"status": "Exercise"}))
    alert = world.engine.exercise("rate", RATE_CODE, Level.RED, "王工", day(0))
    assert [item.receiver_code for item in world.store.notifications()] == ["drill"]
    assert "<status>Exercise</status>" in world.store.tables.cap[0].body
    assert world.engine.explain(alert.identifier)["ok"]
    world.feed(RATE_CODE, [(1, -12.0)])
    assert len(world.alerts) == 2
    assert world.engine.end_exercise(alert.identifier, "王工", day(2)).state is AlertState.RESOLVED
    assert [item.receiver_code for item in world.store.notifications()].count("drill") == 2


def test_an_alert_is_explained_from_its_recorded_inputs_even_after_a_correction():
    world = World(RATE, SILENT)
    world.feed(RATE_CODE, [(0, -9.0), (1, -12.0)])
    world.feed(RATE_CODE, [(0, -6.0)], now=day(2))  # changes the record, not the alert's level
    world.observations.put(world.identity(RATE_CODE), [(day(1), -2.0, 0.1, 1)])
    told = world.engine.explain(1)
    assert told["ok"], told
    assert told["recomputed"]["value"] == 12.0
    (alert,) = world.alerts
    forged = {**alert.evidence, "value": 99.0}
    world.store.tables.alerts[1] = replace(alert, evidence=forged)
    told = world.engine.explain(1)
    assert not told["ok"]
    assert told["differences"] == ["value"]
    assert not told["intact"]


def test_a_silence_alert_is_explained_too():
    world = World(SILENT)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(day(0.5))
    world.feed(DEPTH_CODE, [(0.6, 9.0)])
    assert world.engine.explain(1)["ok"]


def test_an_excluded_stretch_cannot_tell():
    world = World(DEPTH)
    event = StationEvent("W7", EventKind.MAINTENANCE, day(1), day(2), EventEffect.EXCLUDE)
    world.registers.all_events.append(event)
    world.feed(DEPTH_CODE, [(0, 9.0), (1.5, 14.0)])
    assert world.alerts == []


def test_limits_come_from_the_register_by_zone_and_aquifer():
    rule = {**DEPTH, "limits": "register", "limit_kinds": ["limit", "ban"]}
    del rule["levels"]
    world = World(rule)
    common = {"property_code": "depth_to_water", "unit": "cm", "aquifer": "II", "zone_code": "wangjiangjing"}
    world.registers.all_limits.append(Limit("a", value=3200.0, kind="limit", level="yellow", **common))
    world.registers.all_limits.append(Limit("b", value=3800.0, kind="ban", level="red", **common))
    world.feed(DEPTH_CODE, [(0, 33.0)])
    assert world.alerts[0].level is Level.YELLOW
    assert world.alerts[0].evidence["limit"] == 32.0
    bare = World(rule)
    bare.feed(DEPTH_CODE, [(0, 33.0)])
    assert bare.store.rule_states()[0].reason == "no_limit"


def test_ten_messages_in_one_second_have_ten_identifiers_and_the_eleventh_moves_on():
    world = World(DEPTH)
    for number in range(12):
        code = f"N{number}"
        world.registers.add(Station(code, StationKind.OBSERVATION_WELL, code, code), Datastream(code, "depth_to_water", "m"))
        world.feed(f"{code}:depth_to_water", [(0, 13.0)], now=day(1))
    identifiers = [alert.identifier for alert in world.alerts]
    assert len(set(identifiers)) == 12
    assert all(len(identifier) == 31 for identifier in identifiers)
    assert identifiers[0].startswith("33040012300100_20260102080000_")


def test_a_stored_rule_that_cannot_be_read_is_named_and_does_not_stop_the_others():
    from alerts.rules import parse_rule

    world = World(DEPTH)
    broken = replace(parse_rule(DEPTH), code="broken", definition={"levels": {"purple": 1}})
    world.store.save_rule(broken, now=T0)
    world.feed(DEPTH_CODE, [(0, 13.0)])
    assert len(world.alerts) == 1
    report = world.engine.tick(day(1))
    assert "levels.purple" in report.faulty_rules["broken"]
