"""Who can be silent: what somebody expects to hear from, and not an archive or what nobody confirmed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.alert import AlertState, Verdict
from domain.model import Datastream
from tests.alerts.fakes import SILENT, STAFF, T0, World

DEPTH_CODE = "W7:depth_to_water"
WARMTH_CODE = "W7:water_temperature"


def day(number: float):
    return T0 + timedelta(days=number)


def silence_of(world: World, scope: str = "W7") -> tuple[Verdict, str]:
    (state,) = [state for state in world.store.rule_states(rule_code="silent") if state.scope == scope]
    return state.verdict, state.reason


def two_gauges() -> World:
    world = World(SILENT)
    world.store.save_receiver(STAFF)
    well = world.registers.stations["W7"]
    world.registers.add(well, Datastream("W7", "water_temperature", "Cel", interval_s=3600.0))
    return world


def unconfirm(world: World, what: str, *, confirmed: bool = False) -> None:
    if what == "station":
        world.registers.stations["W7"] = replace(world.registers.stations["W7"], confirmed=confirmed)
    else:
        world.registers.datastreams[DEPTH_CODE] = replace(world.registers.datastreams[DEPTH_CODE], confirmed=confirmed)


@pytest.mark.parametrize("what", ["station", "datastream"])
def test_nobody_expects_to_hear_from_what_nobody_confirmed(what):
    world = World(SILENT)
    world.store.save_receiver(STAFF)
    unconfirm(world, what)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(day(30))
    assert world.alerts == []
    assert list(world.store.notifications()) == []
    assert silence_of(world) == (Verdict.CANNOT_TELL, "unconfirmed")
    unconfirm(world, what, confirmed=True)
    world.engine.tick(day(31))
    assert [(alert.state, alert.onset) for alert in world.alerts] == [(AlertState.FIRING, T0 + timedelta(hours=3))]


def test_an_unconfirmed_datastream_does_not_hide_or_blame_its_confirmed_sibling():
    world = two_gauges()
    unconfirm(world, "datastream")
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.feed(WARMTH_CODE, [(9.99, 16.0)])
    world.engine.tick(day(10))
    assert world.alerts == []
    assert silence_of(world) == (Verdict.OK, "")
    world.engine.tick(day(20))
    (alert,) = world.alerts
    assert [item["datastream"] for item in alert.evidence["details"]["arrivals"]] == [WARMTH_CODE]


@pytest.mark.parametrize(("age_d", "alerts"), [(6, 1), (364, 1), (366, 0), (3237, 0)])
def test_a_station_whose_record_had_ended_long_before_it_came_is_no_silent_one(age_d, alerts):
    world = World(SILENT)
    world.feed(DEPTH_CODE, [(0, 9.0)], now=day(age_d))
    world.engine.tick(day(age_d + 0.1))
    assert len(world.alerts) == alerts
    if not alerts:
        assert silence_of(world) == (Verdict.CANNOT_TELL, "never_live")


def test_a_yearly_survey_is_an_archive_after_ten_intervals():
    for years, alerts in ((3, 1), (9.9, 1), (10.1, 0)):
        world = World({**SILENT, "levels": {"blue": 1.25, "yellow": 2}})
        world.registers.datastreams[DEPTH_CODE] = replace(world.registers.datastreams[DEPTH_CODE], interval_s=365.25 * 86400)
        world.feed(DEPTH_CODE, [(0, 9.0)], now=day(years * 365.25))
        world.engine.tick(day(years * 365.25 + 1))
        assert len(world.alerts) == alerts, years


def test_what_was_live_and_stopped_is_silent_however_long():
    world = World(SILENT)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(day(3000))
    assert [alert.state for alert in world.alerts] == [AlertState.FIRING]


def test_an_old_datastream_beside_a_live_one_is_silent():
    world = two_gauges()
    world.feed(DEPTH_CODE, [(0, 9.0)], now=day(500))
    world.feed(WARMTH_CODE, [(499.99, 16.0)])
    world.engine.tick(day(500))
    (alert,) = world.alerts
    assert alert.evidence["details"]["arrivals"][0]["datastream"] == DEPTH_CODE


def test_a_late_correction_of_what_stopped_resolves_no_alert_and_a_new_observation_does():
    world = World(SILENT)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(day(1))
    world.feed(DEPTH_CODE, [(0, 9.1)], now=day(500))
    world.engine.tick(day(500))
    assert silence_of(world) == (Verdict.CANNOT_TELL, "never_live")
    assert [alert.state for alert in world.alerts] == [AlertState.FIRING]
    world.feed(DEPTH_CODE, [(500.5, 9.1)])
    world.engine.tick(day(500.51))
    assert [alert.state for alert in world.alerts] == [AlertState.RESOLVED]


def test_an_alert_is_explained_though_its_station_was_unconfirmed_since():
    world = World(SILENT)
    world.feed(DEPTH_CODE, [(0, 9.0)])
    world.engine.tick(day(0.5))
    unconfirm(world, "station")
    unconfirm(world, "datastream")
    told = world.engine.explain(1)
    assert told["ok"], told
