"""A dry run tells what people would be told by all rules together, with routes, grouping, inhibition and flapping as they are live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.alarm_quality import load_targets
from alerts.dry_run import DryRun, as_json, dry_run
from alerts.policy import default_policy
from alerts.replay import Replay
from alerts.rules import parse_rule
from alerts.would_fire import Bench
from domain.alert import Level, MessageType
from domain.alerting import Receiver
from domain.model import Datastream, Station, StationKind
from tests.alerts.fakes import DEPTH, PARTNER, RATE, SILENT, STAFF, T0, World
from tests.alerts.test_holds import add_marks

CODE = "W7:depth_to_water"
END = T0 + timedelta(days=30)


def tried(
    world: World,
    rule: Mapping[str, Any],
    *others: Mapping[str, Any],
    receivers: Sequence[Receiver] = (STAFF,),
    acceptable: float = 150.0,
    most: float = 300.0,
    end: datetime = END,
) -> DryRun:
    bench = Bench(
        world.observations, world.registers, Replay(world.observations, world.registers, None), receivers,
        replace(load_targets(), per_day_acceptable=acceptable, per_day_maximum=most), UTC, world.store.current_seq(), default_policy(),
        [parse_rule(other) for other in others],
    )  # fmt: skip
    return dry_run(parse_rule(rule), bench, T0 - timedelta(days=1), end, end)


def rung(world: World, receiver: str = "staff") -> int:
    """How often the running system would have rung: new alerts, groups and flapping; an end rings no bell."""
    return sum(
        item.receiver_code == receiver and (item.message_type is MessageType.ALERT or "group" in item.payload)
        for item in world.store.notifications()
    )


def test_a_funnel_is_told_as_one_as_it_is_live():
    world = World(RATE)
    world.store.save_receiver(STAFF)
    codes = add_marks(world, 40)
    for number, code in enumerate(codes):
        world.feed(f"{code}:displacement_up_rate_12mo", [(0.001 * number, -12.0)], now=T0 + timedelta(days=0.001 * number))
        world.engine.tick(T0 + timedelta(days=0.001 * number, seconds=40))
    world.engine.tick(T0 + timedelta(days=1))
    (load,) = tried(world, {**RATE, "fresh_for": "P999D"}).loads
    assert load.alerts == pytest.approx(rung(world), abs=2)
    assert load.alerts < 12 and load.held == {"grouped": 38}


def test_a_silent_gateway_hides_its_sensors_and_a_station_is_one_alert():
    world = World()
    codes = add_marks(world, 5, gateway="GW1")
    world.registers.add(
        Station("GW1", StationKind.OTHER, "网关", "Gateway"), Datastream("GW1", "battery_voltage", "V", interval_s=60.0)
    )
    for code in codes:
        world.registers.add(
            Station(code, StationKind.GNSS_MARK, code, code, region_code="330424", attributes={"gateway": "GW1"}),
            Datastream(code, "battery_voltage", "V", interval_s=3600.0),
            Datastream(code, "displacement_up", "mm", interval_s=3600.0),
        )
    world.feed("GW1:battery_voltage", [(0, 12.0), (5, 12.0)])
    for code in codes:
        for name in ("battery_voltage", "displacement_up"):
            world.feed(f"{code}:{name}", [(0, 1.0), (4.99, 1.0)])
    found = tried(world, SILENT, end=T0 + timedelta(days=5, minutes=1))
    assert sorted(item.scope for item in found.episodes) == sorted(["GW1", *codes]), (
        "two datastreams of one station are one alert"
    )
    (load,) = found.loads
    assert load.held == {"inhibited": 5}
    assert load.alerts == 2, "the gateway, blue and then yellow"


def test_a_value_that_dithers_rings_until_it_is_called_flapping():
    world = World(DEPTH)
    rows = [(minute / 1440, 12.6 if minute % 10 < 5 else 5.0) for minute in range(0, 300, 5)]
    world.feed(CODE, rows, now=T0 + timedelta(days=1))
    found = tried(world, DEPTH)
    (load,) = found.loads
    assert len(found.episodes) == 30
    assert load.alerts <= 5 and load.held == {"flapping": pytest.approx(27, abs=2)}


def test_the_budget_is_that_of_all_rules_together():
    world = World(DEPTH)
    rows = [(day + step / 24, 12.6 if step in (6, 18) else 5.0) for day in range(20) for step in range(24)]
    world.feed(CODE, rows, now=END)
    deeper = {**DEPTH, "code": "deeper"}
    alone = tried(world, deeper, acceptable=2.0)
    together = tried(world, deeper, DEPTH, acceptable=2.0)
    assert not alone.is_over_budget and together.is_over_budget
    (load,) = together.loads
    assert (load.before, load.of_rule, load.alerts, together.rules) == (40, 40, 80, 2)
    assert as_json(together, load_targets())["receivers"][0]["before"] == 40


def test_a_rule_that_tells_nobody_more_is_not_refused_for_what_others_do():
    world = World(DEPTH)
    world.feed(CODE, [(day, 12.6 if day % 2 else 5.0) for day in range(20)], now=END)
    mute = {**DEPTH, "code": "mute", "levels": {"blue": 99}}
    found = tried(world, mute, DEPTH, acceptable=0.01)
    assert found.episodes == () and not found.is_over_budget


def test_changing_a_rule_counts_its_new_version_alone():
    world = World(DEPTH)
    world.feed(CODE, [(day, 12.6 if day % 2 else 5.0) for day in range(20)], now=END)
    (load,) = tried(world, DEPTH, DEPTH).loads
    assert (load.before, load.alerts) == (0, 10)


def test_each_receiver_is_told_what_its_route_lets_through():
    world = World(DEPTH, SILENT)
    world.feed(CODE, [(day / 2, 12.6 if day % 2 else 5.0) for day in range(20)], now=END)
    evening = Receiver("evening", "smtp", {"to": "x", "digest": {"at": "18:00", "up_to": "yellow"}})
    receivers = [
        STAFF, PARTNER, evening, Receiver("red", "smtp", {}, min_level=Level.RED),
        Receiver("elsewhere", "smtp", {}, matchers={"region": "32*"}), Receiver("drill", "smtp", {}, matchers={"status": "Exercise"}),
    ]  # fmt: skip
    told = {load.receiver: load.alerts for load in tried(world, DEPTH, receivers=receivers).loads}
    assert told == {"staff": 10, "partner": 10, "evening": 10, "red": 0, "elsewhere": 0, "drill": 0}
    twice = [(day + step / 24, 12.6 if step in (2, 5) else 5.0) for day in range(20, 25) for step in range(24)]
    world.feed(CODE, twice, now=END)
    told = {load.receiver: load.alerts for load in tried(world, DEPTH, receivers=receivers).loads}
    assert told["staff"] == 20 and told["evening"] == 15, "a digest rings once a day"
    instrument = {load.receiver: load.alerts for load in tried(world, SILENT, receivers=[STAFF, PARTNER]).loads}
    assert instrument["partner"] == 0
