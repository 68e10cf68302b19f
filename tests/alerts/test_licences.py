"""Scenario 18 and 19: a licence's quota with its projection, and the duty to put back, from the licence that holds on the day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alerts.explanation import describe
from domain.alert import AlertState, Level
from domain.licence import Licence
from domain.model import Datastream, Station, StationKind
from tests.alerts.fakes import World

ZONE = ZoneInfo("Asia/Shanghai")
NAMES = {"name_zh": "许可取水量", "name_en": "Quota", "source": "test", "scope": {"property": "abstraction_volume"}}
QUOTA = {
    **NAMES,
    "code": "quota",
    "kind": "quota",
    "levels": {"blue": 100, "yellow": 105, "orange": 120},
    "used_levels": {"orange": 100},
}
BACK = {**NAMES, "code": "back", "kind": "reinjection", "levels": {"blue": 100, "yellow": 90, "orange": 75}}
CODE, OTHER = "GW1:abstraction_volume", "GW1:injection_volume"


def well(rule: dict[str, Any], *, licensed: bool = True, **duties: Any) -> World:
    world = World(rule)
    world.registers.add(
        Station("GW1", StationKind.GEOTHERMAL_WELL, "云澜湾一号", "Yunlan Bay 1", region_code="330421"),
        Datastream("GW1", "abstraction_volume", "m3", interval_s=86400.0),
        Datastream("GW1", "injection_volume", "m3", interval_s=86400.0),
    )
    stated = {"valid_from": date(2020, 1, 1), "valid_to": date(2030, 12, 31), **duties}
    if licensed:
        world.registers.all_licences.append(Licence("C-1", "GW1", "holder", source="test", **stated))
    return world


def take(world: World, code: str, begin: date, days: int, per_day: float, *, skip: int = 0) -> None:
    """Daily volumes from a local day on, evaluated after the last."""
    first = datetime(begin.year, begin.month, begin.day, tzinfo=ZONE).astimezone(UTC)
    identity = world.identity(code)
    rows = [(first + timedelta(days=day), per_day, float("nan"), 1) for day in range(skip, days)]
    change = world.observations.put(identity, rows)
    world.observations.ends[identity] = timedelta(days=1)
    world.engine.evaluate([change], first + timedelta(days=days, hours=1))


def details(world: World) -> dict[str, Any]:
    return dict(world.alerts[0].evidence["details"])


def test_82_percent_by_the_end_of_september_is_warned_of_ahead():
    world = well(QUOTA, quota_m3_per_a=300_000.0)
    take(world, CODE, date(2026, 1, 1), 273, 246_000 / 273)
    (alert,) = world.alerts
    said = details(world)
    assert (said["used_m3"], said["used_percent"]) == (pytest.approx(246_000), pytest.approx(82.0))
    assert said["projected_m3"] == pytest.approx(328_901, abs=1)
    assert alert.evidence["value"] == pytest.approx(109.6, abs=0.05)
    assert (alert.state, alert.level) == (AlertState.FIRING, Level.YELLOW)
    rule, station = world.store.rule("quota"), world.registers.station("GW1")
    assert rule is not None
    text = describe(alert, rule, station, world.registers.datastream(CODE))
    assert "246,000 m³（82.0%）" in text.text_zh
    assert "328,901 m3 projected" in text.text_en
    assert world.engine.explain(alert.identifier)["ok"]


def test_a_licence_year_that_is_not_the_calendar_year_begins_anew_in_its_own_month():
    world = well(QUOTA, quota_m3_per_a=300_000.0, licence_year_start="07-01")
    take(world, CODE, date(2026, 1, 1), 273, 246_000 / 273)
    said = details(world)
    assert said["days_gone"] == pytest.approx(92)  # July, August and September
    assert said["used_m3"] == pytest.approx(92 * 246_000 / 273)
    take(world, CODE, date(2026, 10, 1), 40, 100.0)
    assert world.alerts[0].state is AlertState.RESOLVED


def test_taking_after_the_licence_has_ended_is_red_and_nothing_taken_is_not():
    world = well(QUOTA, quota_m3_per_a=300_000.0, valid_to=date(2026, 1, 31))
    take(world, CODE, date(2026, 1, 1), 35, 500.0)
    (alert,) = world.alerts
    assert (alert.level, alert.evidence["reason"], details(world)["expired"]) == (Level.RED, "licence_expired", 1.0)
    assert alert.onset.astimezone(ZONE).date() == date(2026, 2, 2)  # at the end of the first day without one
    still = well(QUOTA, quota_m3_per_a=300_000.0, valid_to=date(2026, 1, 31))
    take(still, CODE, date(2026, 1, 1), 31, 500.0)
    take(still, CODE, date(2026, 2, 1), 4, 0.0)
    assert not still.alerts


def test_a_meter_that_saw_too_little_gives_no_all_clear_but_a_breach_is_told():
    world = well(QUOTA, quota_m3_per_a=300_000.0)
    take(world, CODE, date(2026, 1, 1), 200, 100.0, skip=100)
    (state,) = world.store.rule_states(verdict="cannot_tell")
    assert state.reason == "coverage"
    take(world, CODE, date(2026, 7, 20), 30, 20_000.0)
    assert [alert.level for alert in world.alerts] == [Level.ORANGE]


def test_without_any_licence_or_without_a_quota_nothing_is_made_up():
    none = well(QUOTA, licensed=False)
    take(none, CODE, date(2026, 1, 1), 100, 5000.0)
    assert [state.reason for state in none.store.rule_states(verdict="cannot_tell")] == ["no_licence"]
    free = well(QUOTA)
    take(free, CODE, date(2026, 1, 1), 100, 5000.0)
    assert [state.verdict for state in free.store.rule_states()] == ["ok"]
    assert not none.alerts
    assert not free.alerts


@pytest.mark.parametrize(
    ("duty", "put_back", "level", "reason"),
    [
        (0.8, 41_400 / 30, Level.YELLOW, ""),  # 69 % against 80 %
        (0.8, 49_000 / 30, None, ""),
        (None, 0.0, None, ""),  # a spa without a duty
        (0.8, None, None, "silent_meter"),
        (0.8, 78_000 / 30, None, "data_error"),  # 130 %
        (0.8, 0.0, Level.ORANGE, ""),
    ],
)
def test_reinjection_is_held_against_the_licence_and_unknown_is_not_zero(duty, put_back, level, reason):
    world = well(BACK, reinjection_ratio=duty)
    if put_back is not None:
        take(world, OTHER, date(2026, 1, 1), 30, put_back)
    take(world, CODE, date(2026, 1, 1), 30, 60_000 / 30)
    assert [alert.level for alert in world.alerts] == ([level] if level else [])
    (state,) = [state for state in world.store.rule_states() if state.scope == CODE]
    assert (state.verdict.value, state.reason) == ("breach" if level else "cannot_tell" if reason else "ok", reason)
    if level is Level.YELLOW:
        assert state.value == pytest.approx(69.0)
        assert world.alerts[0].evidence["limit"] == pytest.approx(72.0)  # 90 % of 80 %
        assert world.engine.explain(world.alerts[0].identifier)["ok"]


def versions(world: World, *stated: tuple[date, dict[str, Any]]) -> None:
    """One licence in versions: each begins on its day and ends with the next."""
    begins = [day for day, _ in stated]
    common = {"valid_from": date(2020, 1, 1), "valid_to": date(2030, 12, 31), "source": "test"}
    world.registers.all_licences[:] = [
        Licence("C-1", "GW1", "holder", effective_from=day, superseded_on=following, **{**common, **duties})
        for (day, duties), following in zip(stated, [*begins[1:], None], strict=True)
    ]


def last_judged(world: World, rule: str) -> tuple[Any, ...]:
    (state,) = [item for item in world.store.rule_states(rule_code=rule) if item.scope == CODE]
    return state.verdict, state.level, state.value, state.event_time


@pytest.mark.parametrize("seed", range(20))
def test_an_old_window_is_judged_alike_whatever_version_begins_later(seed):
    draw = np.random.default_rng(seed)
    first = {"quota_m3_per_a": float(draw.uniform(1e5, 5e5)), "reinjection_ratio": float(draw.uniform(0.3, 0.9))}
    begins = date(2025, 1, 1) + timedelta(days=int(draw.integers(181, 700)))
    later = {
        "quota_m3_per_a": float(draw.uniform(1e4, 5e6)),
        "reinjection_ratio": float(draw.uniform(0.3, 1.0)) if draw.random() < 0.7 else None,
        "licence_year_start": str(draw.choice(["01-01", "04-01", "07-01"])),
        "valid_to": date(2030, 12, 31) if draw.random() < 0.7 else begins,
    }
    for rule, name in ((QUOTA, "quota"), (BACK, "back")):
        answers = []
        for known in ((date(2020, 1, 1), first),), ((date(2020, 1, 1), first), (begins, later)):
            world = well(rule, licensed=False)
            versions(world, *known)
            take(world, CODE, date(2025, 1, 1), 180, 1000.0)
            take(world, OTHER, date(2025, 1, 1), 180, 500.0)
            told = [(item.state, item.peak_level, item.onset, item.ended, item.evidence.get("value")) for item in world.alerts]
            answers.append((told, last_judged(world, name)))
        assert answers[0] == answers[1]


def test_late_volumes_are_judged_by_the_version_of_their_own_day():
    world = well(QUOTA, licensed=False)
    versions(world, (date(2020, 1, 1), {"quota_m3_per_a": 300_000.0}), (date(2026, 1, 1), {"quota_m3_per_a": 600_000.0}))
    take(world, CODE, date(2026, 1, 1), 60, 1000.0)
    assert world.alerts == [], "365,000 of 600,000"
    take(world, CODE, date(2025, 1, 1), 180, 1000.0)  # a file that comes a year late
    (alert,) = world.alerts
    assert alert.onset < datetime(2026, 1, 1, tzinfo=UTC) and alert.peak_level is Level.ORANGE
    assert alert.state is AlertState.RESOLVED


def test_each_window_is_held_against_the_duty_of_its_own_time():
    world = well(BACK, licensed=False)
    versions(world, (date(2020, 1, 1), {"reinjection_ratio": 0.5}), (date(2026, 1, 1), {"reinjection_ratio": 0.9}))
    take(world, OTHER, date(2025, 6, 1), 120, 600.0)
    take(world, CODE, date(2025, 6, 1), 120, 1000.0)
    assert world.alerts == [], "60 % where 50 % is due"
    take(world, OTHER, date(2026, 1, 1), 120, 600.0)
    take(world, CODE, date(2026, 1, 1), 120, 1000.0)
    (alert,) = world.alerts
    assert alert.level is Level.ORANGE and alert.onset > datetime(2025, 12, 31, tzinfo=UTC)
