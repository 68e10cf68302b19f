"""What is too old to speak of now, what nobody confirmed, and what was flagged: no alert by itself, and none that leaves the house."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.alert import AlertState, Confirmation, Level, Verdict
from domain.quality import Quality
from tests.alerts.fakes import DEPTH, PARTNER, RATE, STAFF, T0, World

RATE_CODE = "WY01:displacement_up_rate_12mo"
DEPTH_CODE = "W7:depth_to_water"


def day(number: float):
    return T0 + timedelta(days=number)


def set_source(world, **changes):
    world.registers.datastreams["WY01:displacement_up"] = replace(world.registers.datastreams["WY01:displacement_up"], **changes)


@pytest.mark.parametrize(
    ("interval_d", "age_d", "alerts"),
    [(1, 29, 1), (1, 31, 0), (365.25, 250, 1), (365.25, 456, 1), (365.25, 458, 0), (None, 458, 0)],
)
def test_a_rate_that_is_older_than_its_cadence_allows_opens_no_alert(interval_d, age_d, alerts):
    world = World(RATE)
    set_source(world, interval_s=interval_d and interval_d * 86400.0)
    world.feed(RATE_CODE, [(0, -12.0)], now=day(age_d))
    assert len(world.alerts) == alerts
    (state,) = world.store.rule_states()
    assert (state.verdict, state.reason) == ((Verdict.BREACH, "") if alerts else (Verdict.CANNOT_TELL, "stale"))


def test_an_alert_stays_when_its_rate_grows_old_and_an_old_breach_opens_one_when_news_bear_it_out():
    kept = World(RATE)
    kept.feed(RATE_CODE, [(0, -12.0)])
    kept.feed(RATE_CODE, [(1, -12.1)], now=day(100))
    assert [alert.state for alert in kept.alerts] == [AlertState.FIRING]
    late = World(RATE)
    late.feed(RATE_CODE, [(0, -12.0)], now=day(100))
    assert late.alerts == []
    late.feed(RATE_CODE, [(101, -12.1)])
    assert [(alert.state, alert.onset) for alert in late.alerts] == [(AlertState.FIRING, day(0))]


def test_a_rule_may_state_its_own_patience():
    world = World({**RATE, "fresh_for": "P7D"})
    world.feed(RATE_CODE, [(0, -12.0)], now=day(8))
    assert world.alerts == []


@pytest.mark.parametrize("what", ["station", "datastream", "source"])
def test_what_nobody_confirmed_waits_for_a_person_and_tells_nobody(what):
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.store.save_receiver(PARTNER)
    if what == "station":
        world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], confirmed=False)
    elif what == "source":
        set_source(world, confirmed=False)
    else:
        world.registers.datastreams[RATE_CODE] = replace(world.registers.datastreams[RATE_CODE], confirmed=False)
    world.feed(RATE_CODE, [(0, -12.0)])
    (alert,) = world.alerts
    assert (alert.state, alert.confirmation, alert.verdict) == (AlertState.PENDING, Confirmation.AWAITED, Verdict.CANNOT_TELL)
    assert (alert.evidence["reason"], alert.evidence["unconfirmed"]) == ("unconfirmed", True)
    assert world.messages == []
    assert list(world.store.notifications()) == []
    set_source(world, confirmed=True)
    world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], confirmed=True)
    world.registers.datastreams[RATE_CODE] = replace(world.registers.datastreams[RATE_CODE], confirmed=True)
    assert world.engine.explain(alert.identifier)["ok"]
    world.feed(RATE_CODE, [(1, -12.0)])
    assert [(alert.state, alert.level) for alert in world.alerts] == [(AlertState.FIRING, Level.YELLOW)]


def test_observations_that_are_flagged_as_bad_open_no_alert():
    world = World(DEPTH)
    for quality in (Quality.SUSPECT, Quality.FAIL, Quality.MISSING):
        world.feed(DEPTH_CODE, [(int(quality), 14.0)], quality=int(quality))
    assert world.alerts == []
    assert world.store.rule_states()[0].reason == "no_usable_value"
