"""What holds notifications back: shelving, inhibition, grouping and flapping; evaluation goes on whatever is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.policy import parse_policy, shipped_content
from domain.alert import AlertState, Level
from domain.errors import ConflictError, InputError
from domain.finding import Finding, FindingKind
from domain.model import Datastream, Derivation, Station, StationKind
from tests.alerts.fakes import DEPTH, RATE, SILENT, STAFF, T0, World

DEPTH_CODE = "W7:depth_to_water"
COMMON = {
    "code": "datum", "kind": "common_mode", "name_zh": "同步变动", "name_en": "Common mode", "source": "test",
    "scope": {"property": "*common_mode*"}, "unit": "mm", "levels": {"blue": 3},
}  # fmt: skip


def told(world: World) -> list[str]:
    return [item.payload["alert"]["scope"] for item in reversed(world.store.notifications())]


def staffed(*rules: Mapping[str, object]) -> World:
    world = World(*rules)
    world.store.save_receiver(STAFF)
    return world


def add_marks(world: World, count: int, *, region: str = "330424", gateway: str | None = None) -> list[str]:
    attributes = {"gateway": gateway} if gateway else {}
    codes = []
    for number in range(count):
        code = f"G{region[-2:]}{number:03d}"
        station = Station(code, StationKind.GNSS_MARK, code, code, region_code=region, attributes=attributes)
        derivation = Derivation("rate_12mo", "1", {}, "0" * 64)
        world.registers.add(
            station, Datastream(code, "displacement_up", "mm", interval_s=3600.0),
            Datastream(code, "displacement_up_rate_12mo", "mm/a", derivation=derivation),
        )  # fmt: skip
        codes.append(code)
    return codes


# --- shelving -------------------------------------------------------------------------------------------------------


def test_a_shelved_alert_is_quiet_until_it_gets_worse_and_the_end_of_the_shelf_is_noted():
    world = staffed(DEPTH)
    world.feed(DEPTH_CODE, [(0, 10.5)])
    now = T0 + timedelta(hours=1)
    world.engine.shelve(1, "王工", "pump test", now + timedelta(days=2), now)
    world.feed(DEPTH_CODE, [(0.1, 8.0)])
    world.feed(DEPTH_CODE, [(0.2, 10.4)])
    assert told(world) == [DEPTH_CODE]
    world.feed(DEPTH_CODE, [(0.3, 13.0)])
    assert [item.payload["alert"]["level"] for item in reversed(world.store.notifications())] == ["blue", "yellow"]
    world.engine.tick(T0 + timedelta(days=3))
    steps = [(item.kind, item.actor) for item in world.store.transitions(1)]
    assert ("shelved", "王工") in steps
    assert ("unshelved", "groundwatch") in steps
    assert "shelved" not in world.alerts[0].memory


def test_what_was_held_and_still_fires_goes_out_when_the_shelf_runs_out():
    world = staffed(DEPTH)
    world.feed(DEPTH_CODE, [(0, 12.5)])
    now = T0 + timedelta(hours=1)
    world.engine.shelve(1, "王工", "pump test", now + timedelta(days=1), now)
    world.feed(DEPTH_CODE, [(0.1, 10.5)])
    assert len(world.store.notifications()) == 1
    world.engine.tick(now + timedelta(hours=12))
    assert len(world.store.notifications()) == 1
    world.engine.tick(now + timedelta(days=1))
    assert [item.payload["alert"]["level"] for item in reversed(world.store.notifications())] == ["yellow", "blue"]


@pytest.mark.parametrize(("who", "reason", "days"), [("", "x", 1), ("王工", " ", 1), ("王工", "x", 8), ("王工", "x", -1)])
def test_shelving_needs_a_name_a_reason_and_an_end_that_the_policy_allows(who, reason, days):
    world = staffed(DEPTH)
    world.feed(DEPTH_CODE, [(0, 12.5)])
    with pytest.raises(InputError) as caught:
        world.engine.shelve(1, who, reason, T0 + timedelta(days=days), T0)
    assert caught.value.remedy
    assert "shelved" not in world.alerts[0].memory


def test_a_person_ends_a_shelving_and_only_what_is_open_and_shelved_can_be():
    world = staffed(DEPTH)
    world.feed(DEPTH_CODE, [(0, 12.5)])
    with pytest.raises(ConflictError):
        world.engine.unshelve(1, "王工", None, T0)
    world.engine.shelve(1, "王工", "x", T0 + timedelta(days=1), T0)
    world.feed(DEPTH_CODE, [(0.1, 10.5)])
    assert "shelved" not in world.engine.unshelve(1, "李工", None, T0 + timedelta(hours=3)).memory
    assert len(world.store.notifications()) == 2
    world.feed(DEPTH_CODE, [(0.2, 1.0)])
    with pytest.raises(ConflictError):
        world.engine.shelve(1, "王工", "x", T0 + timedelta(days=1), T0)


# --- inhibition -----------------------------------------------------------------------------------------------------


def test_a_silent_gateway_hides_the_silence_of_its_sensors_and_frees_it_when_it_is_back():
    world = staffed()
    codes = add_marks(world, 5, gateway="GW1")
    world.registers.add(
        Station("GW1", StationKind.OTHER, "网关", "Gateway"), Datastream("GW1", "battery_voltage", "V", interval_s=60.0)
    )
    world.feed("GW1:battery_voltage", [(0, 12.0)])
    for code in codes:
        world.feed(f"{code}:displacement_up", [(0, 1.0)])
    from alerts.rules import parse_rule

    world.store.save_rule(parse_rule(SILENT), now=T0)
    world.engine.tick(T0 + timedelta(hours=1))
    assert told(world) == ["GW1"]
    world.engine.tick(T0 + timedelta(hours=4))
    assert told(world).count("GW1") >= 1
    assert not set(told(world)) & set(codes)
    assert {alert.scope for alert in world.alerts if alert.state is AlertState.FIRING} == {"GW1", *codes}
    assert all(alert.memory["held"] == "inhibited" for alert in world.alerts if alert.scope in codes)
    world.feed("GW1:battery_voltage", [(0.2, 12.0)])
    world.engine.tick(T0 + timedelta(hours=4.8, seconds=30))
    world.engine.tick(T0 + timedelta(hours=4.8, seconds=90))
    assert (
        world.store.notifications()[0].payload["group"]["firing"] == 5
    )  # the gateway is back, its sensors are not: told together


class Runs:
    """Runs and findings in memory."""

    def __init__(self) -> None:
        self.runs: dict[int, list[object]] = {}
        self.findings: dict[int, list[object]] = {}

    def latest_runs(self, datastream_id: int):
        del datastream_id
        return {}

    def runs_as_of(self, datastream_id: int, as_of: int | None):
        del as_of
        return self.runs.get(datastream_id, [])

    def findings_as_of(self, datastream_id: int, as_of: int | None):
        del as_of
        return self.findings.get(datastream_id, [])


class Seen:
    method, status = "common_mode", "ok"
    window_start, window_end = T0 - timedelta(days=30), T0


def test_a_datum_that_moved_120_marks_is_one_alert_and_not_120(monkeypatch):
    """Scenario 6: +7 ± 1 mm at one epoch at 120 marks."""
    world = staffed(COMMON, RATE)
    codes = add_marks(world, 120)
    network = Datastream("NET", "height_common_mode", "mm")
    world.registers.add(Station("NET", StationKind.OTHER, "网", "Network"), network)
    identity = world.identity("NET:height_common_mode")
    runs = Runs()
    members = [f"{code}:displacement_up" for code in codes]
    finding = Finding(
        FindingKind.COMMON_MODE, T0 - timedelta(days=1), size=7.0, sigma=1.0, unit="mm", parameters={"datastreams": members}
    )

    class Stored:
        method = "common_mode"

        def __getattr__(self, name: str):
            return getattr(finding, name)

    runs.runs[identity], runs.findings[identity] = [Seen()], [Stored()]
    monkeypatch.setattr(world.engine._replay, "_runs", runs)
    world.feed("NET:height_common_mode", [(-1, 7.0)], now=T0)
    assert told(world) == ["NET:height_common_mode"]
    changes = [
        world.observations.put(world.identity(f"{code}:displacement_up_rate_12mo"), [(T0, -12.0, 0.1, 1)]) for code in codes
    ]
    world.engine.evaluate(changes, T0 + timedelta(minutes=1))
    world.engine.tick(T0 + timedelta(minutes=30))
    assert told(world) == ["NET:height_common_mode"]
    assert len(world.alerts) == 121
    assert {alert.memory.get("held") for alert in world.alerts if alert.scope != "NET:height_common_mode"} == {"inhibited"}


# --- grouping -------------------------------------------------------------------------------------------------------


def test_a_funnel_of_forty_marks_is_told_as_one():
    world = staffed(RATE)
    codes = add_marks(world, 40)
    changes = [
        world.observations.put(world.identity(f"{code}:displacement_up_rate_12mo"), [(T0, -12.0, 0.1, 1)]) for code in codes
    ]
    world.engine.evaluate(changes, T0 + timedelta(seconds=1))
    assert len(world.store.notifications()) == 2  # the first two by themselves, at once
    world.engine.tick(T0 + timedelta(seconds=10))
    assert len(world.store.notifications()) == 2
    world.engine.tick(T0 + timedelta(seconds=40))
    notice = world.store.notifications()[0]
    assert len(world.store.notifications()) == 3
    assert (notice.payload["group"]["firing"], notice.payload["group"]["worst"]) == (40, "yellow")
    assert len(notice.payload["group"]["members"]) == 40
    assert "40" in notice.payload["headline"]["zh"]
    world.engine.tick(T0 + timedelta(hours=2))
    assert len(world.store.notifications()) == 3


def test_groups_are_told_apart_by_region_and_their_end_is_told_together():
    world = staffed(RATE)
    codes = add_marks(world, 5) + add_marks(world, 2, region="330411")
    rates = [f"{code}:displacement_up_rate_12mo" for code in codes]
    world.engine.evaluate([world.observations.put(world.identity(code), [(T0, -12.0, 0.1, 1)]) for code in rates], T0)
    world.engine.tick(T0 + timedelta(minutes=1))
    assert len(world.store.notifications()) == 2 + 2 + 1
    later = T0 + timedelta(days=1)
    world.engine.evaluate([world.observations.put(world.identity(code), [(later, -1.0, 0.1, 1)]) for code in rates[:5]], later)
    world.engine.tick(later + timedelta(minutes=1))
    ends = [item for item in world.store.notifications() if item.created_at >= later]
    assert len(ends) <= 3
    assert all(alert.state is AlertState.RESOLVED for alert in world.alerts if alert.station in codes[:5])
    assert not [alert for alert in world.alerts if "suppressed" in alert.memory]


# --- flapping -------------------------------------------------------------------------------------------------------


def test_an_alert_that_flaps_is_held_with_one_notice_and_told_again_once_it_is_calm():
    world = staffed(DEPTH)
    now = T0
    for number in range(12):
        now = T0 + timedelta(minutes=2 * number + 1)
        world.feed(DEPTH_CODE, [(number / 720, 12.5 if number % 2 == 0 else 10.6)], now=now)
    sent = list(reversed(world.store.notifications()))
    assert [bool(item.payload.get("flapping")) for item in sent] == [False] * 5 + [True]
    assert "flapping" in [item.kind for item in world.store.transitions(1)]
    world.engine.tick(now + timedelta(minutes=10))
    assert len(world.store.notifications()) == 6
    world.engine.tick(now + timedelta(hours=2))
    assert len(world.store.notifications()) == 7
    assert world.alerts[0].level is Level.BLUE
    assert "suppressed" not in world.alerts[0].memory


# --- the policy as data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"muting": []}, "muting"),
        ({"inhibition": [{"code": "x", "source": "s", "by": {"kind": "silence"}, "hides": {"colour": "x"}}]}, "hides.colour"),
        ({"inhibition": [{"code": "x", "source": "s", "by": {}, "hides": {"kind": "rate"}}]}, "by"),
        ({"inhibition": [{"code": "x", "source": "s", "by": {"kind": "a"}, "hides": {"kind": "b"}, "equal": {"rule": "x"}}]}, "equal"),
        ({"inhibition": [{"by": {}}]}, "inhibition"),
        ({"grouping": [{"code": "x", "source": "s", "by": ["colour"], "after": 3, "wait": "PT1S", "interval": "PT1M"}]}, "by"),
        ({"flapping": {"source": "s", "changes": 1, "window": "PT1H"}}, "changes"),
        ({"flapping": {"source": "s", "changes": 2.5, "window": "PT1H"}}, "changes"),
        ({"shelving": {"source": "s", "longest": "a week"}}, "longest"),
        ({"shelving": {"longest": "P7D"}}, "source"),
        ({"budget": []}, "budget"),
    ],
)  # fmt: skip
def test_a_faulty_policy_is_refused_and_its_field_named(change, named):
    with pytest.raises(InputError) as caught:
        parse_policy(change)
    assert named in str(caught.value)
    assert caught.value.remedy


def test_a_stored_policy_replaces_the_sections_that_it_states():
    world = staffed(RATE)
    world.store.save_policy({"grouping": []}, author="test", reason="", now=T0)
    codes = add_marks(world, 10)
    changes = [
        world.observations.put(world.identity(f"{code}:displacement_up_rate_12mo"), [(T0, -12.0, 0.1, 1)]) for code in codes
    ]
    world.engine.evaluate(changes, T0 + timedelta(seconds=1))
    assert len(world.store.notifications()) == 10
    assert replace(parse_policy({"grouping": []}), grouping=parse_policy({}).grouping) == parse_policy({})
    assert all(entry["source"] for entry in shipped_content()["inhibition"])
