"""A dry run tells what people would be told by all rules together, with routes, grouping, inhibition and flapping as they are live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerts.alarm_quality import load_targets
from alerts.announcing import announced
from alerts.dry_run import DryRun, as_json, dry_run
from alerts.policy import default_policy
from alerts.replay import Replay
from alerts.routing import next_open, read_duty
from alerts.rules import parse_rule
from alerts.would_fire import Bench, replayed
from domain.alert import Level, MessageType
from domain.alerting import Receiver, Silence
from domain.model import Datastream, Station, StationKind
from tests.alerts.fakes import DEPTH, PARTNER, RATE, SILENT, STAFF, T0, World
from tests.alerts.test_holds import add_marks

CODE = "W7:depth_to_water"
END = T0 + timedelta(days=30)


def bench_of(
    world: World,
    receivers: Sequence[Receiver],
    others: Sequence[Mapping[str, Any]] = (),
    acceptable: float = 150.0,
    most: float = 300.0,
    zone: tzinfo = UTC,
) -> Bench:
    return Bench(
        world.observations, world.registers, Replay(world.observations, world.registers, None), receivers,
        replace(load_targets(), per_day_acceptable=acceptable, per_day_maximum=most), zone, world.store.current_seq(), default_policy(),
        [parse_rule(other) for other in others], world.store.silences(),
    )  # fmt: skip


def tried(
    world: World,
    rule: Mapping[str, Any],
    *others: Mapping[str, Any],
    receivers: Sequence[Receiver] = (STAFF,),
    acceptable: float = 150.0,
    most: float = 300.0,
    end: datetime = END,
    zone: tzinfo = UTC,
) -> DryRun:
    bench = bench_of(world, receivers, others, acceptable, most, zone)
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


def times_told(world: World, found: DryRun, receiver: Receiver = STAFF) -> list[datetime]:
    """When the dry run says that a receiver would have been told."""
    (seen,) = replayed([found.rule], bench_of(world, (receiver,)), T0 - timedelta(days=1), found.end, found.end)
    tally = announced([seen], (receiver,), default_policy(), UTC, world.store.silences())[receiver.code]
    return [at for at, _ in tally.told]


def breaches(world: World, *days: float) -> None:
    """A breach of half a day that begins on each of these days, fed as it came, with the worker's ticks between."""
    for day in days:
        world.engine.tick(T0 + timedelta(days=day))
        world.feed(CODE, [(day, 12.6)], now=T0 + timedelta(days=day))
        world.engine.tick(T0 + timedelta(days=day + 0.4))
        world.feed(CODE, [(day + 0.5, 5.0)], now=T0 + timedelta(days=day + 0.5))


def held(begin: float, end: float, kind: str = "silence", **matchers: str) -> Silence:
    return Silence(
        matchers or {"station": "W7"}, T0 + timedelta(days=begin), T0 + timedelta(days=end), "wang", "works", kind=kind
    )


@pytest.mark.parametrize("kind", ["silence", "out_of_service"])
def test_silences_are_taken_as_they_stood_and_tell_as_often_as_live(kind: str) -> None:
    world = World(DEPTH)
    world.store.save_receiver(STAFF)
    for silence in (held(4, 7, kind), held(9.9, 10.25, kind), held(19, 30, kind, station="another"), held(13, 20, kind)):
        world.store.add_silence(silence)
    ended_early = world.store.silences()[-1]
    world.store.end_silence(ended_early.silence_id or 0, "wang", T0 + timedelta(days=14))
    breaches(world, 2, 5, 10, 15, 20)
    (load,) = tried(world, DEPTH).loads
    assert load.held == {kind: 2}, "one that was over before the window ended, and one that outlasted it"
    assert load.alerts == 4 == rung(world)
    told = times_told(world, tried(world, DEPTH))
    assert told == [T0 + timedelta(days=day) for day in (2, 10.25, 15, 20)], "what outlasts a silence is told at its end"


def test_what_a_silence_hides_does_not_go_over_the_budget() -> None:
    world = World(DEPTH)
    rows = [(day + step / 24, 12.6 if step in (6, 18) else 5.0) for day in range(20) for step in range(24)]
    world.feed(CODE, rows, now=END)
    assert tried(world, DEPTH, acceptable=1.0).is_over_budget
    world.store.add_silence(held(0, 30))
    quiet = tried(world, DEPTH, acceptable=1.0)
    assert not quiet.is_over_budget and quiet.loads[0].alerts == 0 and quiet.loads[0].held == {"silence": 40}
    assert len(quiet.episodes) == 40, "the rule would have fired all the same"


def test_hours_of_duty_put_off_what_is_mild_and_let_pass_what_is_bad() -> None:
    office = {"windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}], "always_from": "orange"}
    clerk = Receiver("clerk", "webhook", {"url": "http://127.0.0.1:9/", "hours": office})
    world = World(DEPTH)
    friday = 1.75  # 2 January 2026, 18:00
    world.feed(CODE, [(friday, 12.6), (friday + 0.1, 5.0), (friday + 1, 12.6), (friday + 1.1, 5.0)], now=END)
    (load,) = tried(world, DEPTH, receivers=(clerk,)).loads
    assert load.alerts == 2 and load.held == {"hours": 2}
    monday = T0 + timedelta(days=4, hours=9)
    assert times_told(world, tried(world, DEPTH), clerk) == [monday, monday]
    assert (load.worst_day, load.worst_day_alerts, load.worst_10_min) == ("2026-01-05", 2, 2), "the whole week-end comes at once"
    in_china = tried(world, DEPTH, receivers=(clerk,), zone=ZoneInfo("Asia/Shanghai")).loads[0]
    assert in_china.worst_day == "2026-01-05" and in_china.held == {"hours": 2}
    red = World(DEPTH)
    red.feed(CODE, [(friday, 60.0), (friday + 0.1, 5.0)], now=END)
    (load,) = tried(red, DEPTH, receivers=(clerk,)).loads
    assert load.held == {} and load.worst_day == "2026-01-02"


def test_hours_beyond_midnight_and_the_level_that_always_passes_are_kept() -> None:
    night = read_duty({"hours": {"windows": [{"days": ["fri"], "from": "22:00", "to": "06:00"}]}}, "r")
    saturday = datetime(2026, 1, 3, 5, 59, tzinfo=UTC)
    assert next_open(night, Level.BLUE, saturday, UTC) == saturday
    late = saturday + timedelta(minutes=1)
    assert next_open(night, Level.RED, late, UTC) == datetime(2026, 1, 9, 22, tzinfo=UTC)
    assert next_open(night, Level.BLUE, late, ZoneInfo("Asia/Shanghai")) == datetime(2026, 1, 9, 14, tzinfo=UTC)
