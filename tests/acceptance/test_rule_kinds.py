"""Every kind of rule, three answers each: from stored observations or findings through the running worker to a notification received."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from alerts.rules import RULES, parse_rule
from alerts.store import AlertFilter
from domain.alert import AlertState, Level, Verdict
from domain.alerting import Receiver, RuleState
from domain.finding import Finding, FindingKind, Outcome, Run
from domain.licence import Licence
from domain.model import Datastream, Derivation, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.configuration import apply_vocabulary
from service.jobs import run_worker
from service.settings import Settings
from storage.register_rows import Node
from tests.waiting import wait_until

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC).replace(microsecond=0)
BREACH, OK, CANNOT_TELL = Verdict.BREACH, Verdict.OK, Verdict.CANNOT_TELL
DAY, HOUR = 24.0, 1.0


class _Telephone(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append(body)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@dataclass
class World:
    """A city with a running worker and a receiver; each case has a station of its own."""

    container: Container
    got: list[dict[str, Any]]
    scopes: dict[str, str] = field(default_factory=dict)

    def stream(
        self, station: str, property_code: str, unit: str, *, interval_h: float | None = None, source: Datastream | None = None
    ) -> Datastream:
        """Add a datastream (and its station); one with a source is derived."""
        registers = self.container.registers
        if registers.station(station) is None:
            place = Station(station, StationKind.OTHER, f"点{station}", station, longitude_deg=120.9, latitude_deg=30.5)
            registers.add_station(place, actor="test")
        if registers.observed_property(property_code) is None:
            registers.upsert_property(ObservedProperty(property_code, property_code, property_code, unit, "up"))
        derivation = Derivation("rate_12mo", "1", {}, "0" * 64, source.datastream_id) if source else None
        interval = None if interval_h is None else interval_h * 3600
        return registers.add_datastream(
            Datastream(station, property_code, unit, interval_s=interval, derivation=derivation), actor="test"
        )

    def put(
        self, datastream: Datastream, rows: Sequence[tuple[float, float]], *, sigma: float = 0.1, quality: int = 1,
        extent_h: float | None = None, now: datetime = NOW,
    ) -> None:  # fmt: skip
        """Store (hours ago, value)."""
        begin = np.array([(now - timedelta(hours=ago)).replace(tzinfo=None) for ago, _ in rows], dtype="datetime64[us]")
        end = None if extent_h is None else begin + np.timedelta64(int(extent_h * 3600), "s")
        n = len(rows)
        batch = columns(
            datastream.datastream_id or 0,
            begin,
            [value for _, value in rows],
            end=end,
            sigma=np.full(n, sigma),
            quality=np.full(n, quality),
        )
        self.container.observations.commit(Batch("file", "test", batch))

    def analysed(
        self, datastream: Datastream, method: str, *findings: Finding, status: str = "ok", result: Mapping[str, Any] | None = None
    ) -> None:
        """Store what an analytic says of a datastream."""
        run = Run(method, "1", {}, NOW - timedelta(days=30), NOW, "0" * 64, status, result or {})
        self.container.analyses.save(datastream, [Outcome(run, (), findings)], self.container.analyses.current_seq())

    def licence(self, station: str, **duties: Any) -> None:
        """Give a station a licence of the calendar year."""
        stated = {"valid_from": date(NOW.year - 2, 1, 1), "valid_to": date(NOW.year + 2, 12, 31), "source": "test", **duties}
        self.container.registers.upsert_licence(Licence(f"L-{station}", station, "holder", **stated))


Feed = Callable[[World, str], str]
CASES: dict[tuple[str, Verdict], tuple[dict[str, Any], Feed]] = {}


def case(kind: str, verdict: Verdict, rule: Mapping[str, Any]) -> Callable[[Feed], Feed]:
    """Enter a case: a rule, and what is stored; the feed returns the scope that the verdict is about."""

    def enter(feed: Feed) -> Feed:
        CASES[kind, verdict] = (dict(rule), feed)
        return feed

    return enter


def simple(kind: str, rule: Mapping[str, Any], answers: Mapping[Verdict, Callable[[World, str], Datastream]]) -> None:
    """Enter the three cases of a kind whose scope is one datastream."""

    def feeding(feed: Callable[[World, str], Datastream]) -> Feed:
        return lambda world, station: feed(world, station).code

    for verdict, feed in answers.items():
        CASES[kind, verdict] = (dict(rule), feeding(feed))


def depth(rows: Sequence[tuple[float, float]], **how: Any) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        datastream = world.stream(station, "depth_to_water", "m", interval_h=how.pop("interval_h", 1.0))
        world.put(datastream, rows, **how)
        return datastream

    return feed


def rate(value: float, **how: Any) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        source = world.stream(station, "displacement_up", "mm")
        derived = world.stream(station, "displacement_up_rate_12mo", "mm/a", source=source)
        years = 365.25 * DAY
        history = [(years * (1 + ago) + shift * DAY, 2.0 * ago) for ago in range(6) for shift in (-20, -10, 0, 10, 20)]
        if how.get("history", True):
            world.put(source, history)
        world.put(derived, [(HOUR, value)], sigma=how.get("sigma", 0.1))
        return derived

    return feed


simple("threshold", {"scope": {"property": "depth_to_water"}, "unit": "m", "levels": {"yellow": 10}}, {
    BREACH: depth([(2, 9.0), (1, 12.0)]), OK: depth([(1, 9.0)]), CANNOT_TELL: depth([(1, 12.0)], quality=4),
})  # fmt: skip
simple("rate", {"scope": {"property": "displacement_up_rate_12mo"}, "unit": "mm/a", "levels": {"yellow": 10}}, {
    BREACH: rate(-12.0), OK: rate(-3.0), CANNOT_TELL: rate(-12.0, sigma=9.0),
})  # fmt: skip
for name, extra in (("acceleration", {}), ("trend", {"quantity": "acceleration"})):
    simple(name, {"scope": {"property": "displacement_up_rate_12mo"}, "unit": "mm/a", "levels": {"blue": 5, "yellow": 30}, **extra}, {
        BREACH: rate(-12.0), OK: rate(-2.0), CANNOT_TELL: rate(-12.0, history=False),
    })  # fmt: skip


def ahead(answer: Mapping[str, Any] | None) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        datastream = world.stream(station, "depth_to_water", "m")
        world.put(datastream, [(1, 5.0)])
        world.analysed(datastream, "time_to_limit", result={"limits": {"L1": answer} if answer else {}})
        return datastream

    return feed


simple("time_to_limit", {"scope": {"property": "depth_to_water"}, "unit": "a", "levels": {"blue": 5, "yellow": 2}}, {
    BREACH: ahead({"status": "within", "time": (NOW + timedelta(days=365)).isoformat()}),
    OK: ahead({"status": "beyond_horizon"}), CANNOT_TELL: ahead(None),
})  # fmt: skip

SILENCE = {"scope": {"property": "depth_to_water"}, "levels": {"blue": 3}}


@case("silence", BREACH, SILENCE)
def _silent(world: World, station: str) -> str:
    world.put(world.stream(station, "depth_to_water", "m", interval_h=1), [(12, 5.0)])
    return station


@case("silence", OK, SILENCE)
def _heard(world: World, station: str) -> str:
    world.put(world.stream(station, "depth_to_water", "m", interval_h=1), [(0.1, 5.0)])
    return station


@case("silence", CANNOT_TELL, SILENCE)
def _never_expected(world: World, station: str) -> str:
    world.put(world.stream(station, "depth_to_water", "m"), [(12, 5.0)])
    return station


simple("completeness", {"scope": {"property": "depth_to_water"}, "levels": {"blue": 90, "yellow": 50}, "window": "P1D"}, {
    BREACH: depth([(hour + 0.1, 5.0) for hour in (*range(24, 48), *range(0, 24, 4))]),
    OK: depth([(hour + 0.1, 5.0) for hour in range(48)]), CANNOT_TELL: depth([(hour + 0.1, 5.0) for hour in range(20)]),
})  # fmt: skip


def volumes(
    world: World, station: str, per_day: float, *, property_code: str = "abstraction_volume", skip: int = 0
) -> Datastream:
    """Daily volumes from the beginning of the year to today, at the node's midnights."""
    begin = datetime(NOW.year, 1, 1, tzinfo=UTC) - timedelta(hours=8)
    days = min(max((NOW - begin).days, 1), 300)
    datastream = world.stream(station, property_code, "m3", interval_h=DAY)
    rows = [(-DAY * day, per_day) for day in range(skip, days)]
    world.put(datastream, rows, extent_h=DAY, now=begin)
    return datastream


def taken(per_day: float, **duties: Any) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        datastream = world.stream(station, "abstraction_rate", "m3/h")
        if duties:
            world.licence(station, **duties)
        assert datastream.datastream_id
        return volumes(world, station, per_day)

    return feed


simple("quota", {"scope": {"property": "abstraction_volume"}, "levels": {"yellow": 100}, "least_days": 1, "fresh_for": "P999D"}, {
    BREACH: taken(1000.0, quota_m3_per_a=300_000.0), OK: taken(500.0, quota_m3_per_a=300_000.0), CANNOT_TELL: taken(1000.0),
})  # fmt: skip


def put_back(per_day: float | None) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        datastream = world.stream(station, "abstraction_volume", "m3", interval_h=DAY)
        world.licence(station, reinjection_ratio=0.8)
        other = world.stream(station, "injection_volume", "m3", interval_h=DAY)
        days = [(DAY * day, 2000.0) for day in range(1, 31)]
        if per_day is not None:
            world.put(other, [(ago, per_day) for ago, _ in days], extent_h=DAY)
        world.put(datastream, days, extent_h=DAY)
        return datastream

    return feed


simple("reinjection", {"scope": {"property": "abstraction_volume"}, "levels": {"blue": 100, "yellow": 90}}, {
    BREACH: put_back(1380.0), OK: put_back(1700.0), CANNOT_TELL: put_back(None),
})  # fmt: skip


def found(
    property_code: str, unit: str, method: str, kind: FindingKind, **finding: Any
) -> dict[Verdict, Callable[[World, str], Datastream]]:
    def feed(verdict: Verdict) -> Callable[[World, str], Datastream]:
        def store(world: World, station: str) -> Datastream:
            datastream = world.stream(station, property_code, unit)
            world.put(datastream, [(DAY, 1.0), (0.5, 1.0)])
            one = Finding(kind, NOW - timedelta(days=2), unit=unit, **finding)
            if verdict is not CANNOT_TELL:
                world.analysed(datastream, method, *((one,) if verdict is BREACH else ()))
            return datastream

        return store

    return {verdict: feed(verdict) for verdict in Verdict}


simple("anomaly", {"scope": {"property": "depth_to_water"}, "levels": {"blue": 3, "yellow": 10}},
       found("depth_to_water", "m", "anomaly", FindingKind.SPIKE, score=12.0, size=0.5))  # fmt: skip
simple("change_point", {"scope": {"property": "displacement_up"}, "unit": "mm", "levels": {"blue": 5, "yellow": 10}, "sigmas": 1},
       found("displacement_up", "mm", "velocity", FindingKind.STEP, size=-12.0, sigma=1.0))  # fmt: skip
simple("finding", {"scope": {"property": "pore_pressure"}, "levels": {"yellow": 1}, "findings": ["inelastic"], "methods": ["inelastic*"]},
       found("pore_pressure", "kPa", "inelastic", FindingKind.INELASTIC, size=0.4))  # fmt: skip
simple("tamper", {"scope": {"property": "abstraction_total"}, "levels": {"yellow": 1}},
       found("abstraction_total", "m3", "tamper", FindingKind.TAMPER, size=48_211.0))  # fmt: skip
simple("common_mode", {"scope": {"property": "displacement_up"}, "unit": "mm", "levels": {"blue": 3}},
       found("displacement_up", "mm", "common_mode", FindingKind.COMMON_MODE, size=7.0, sigma=1.0))  # fmt: skip
simple("layer_closure", {"scope": {"property": "compaction"}, "unit": "mm", "levels": {"blue": 2}},
       found("compaction", "mm", "closure", FindingKind.CLOSURE, size=2.7))  # fmt: skip


def line(second: float | None) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        first = world.stream(station, "displacement_up", "mm")
        other = world.stream(f"{station}-B", "displacement_up", "mm")
        world.put(first, [(1, -1.0)])
        if second is not None:
            world.put(other, [(1, second)])
        return first

    return feed


simple("differential", {"line": [{"datastream": "@:displacement_up", "chainage_m": 0}, {"datastream": "@-B:displacement_up", "chainage_m": 20}],
                        "unit": "mm/m", "levels": {"yellow": 1}},
       {BREACH: line(-23.0), OK: line(-11.0), CANNOT_TELL: line(None)})  # fmt: skip


def pair(shallow: float, deep: float | None) -> Callable[[World, str], Datastream]:
    def feed(world: World, station: str) -> Datastream:
        first = world.stream(station, "depth_to_water", "m")
        other = world.stream(station, "static_depth_to_water", "m")
        if deep is not None:
            world.put(other, [(1, deep)])
        world.put(first, [(1, shallow)])
        return first

    return feed


_LEVELS_OF_WELLS = {
    "a": {"datastream": "@:depth_to_water", "unit": "m"},
    "b": {"datastream": "@:static_depth_to_water", "unit": "m"},
}
simple("expression", {"inputs": _LEVELS_OF_WELLS, "expression": "abs(a - b) > 2 'm'", "levels": {"yellow": 1}},
       {BREACH: pair(9.0, 5.0), OK: pair(5.5, 5.0), CANNOT_TELL: pair(9.0, None)})  # fmt: skip


TOLD = {
    "quota": ("licence L-QUOTA-BREACH allows 300,000 m3",), "reinjection": ("demands 80 %",),
    "differential": ("DIFFERENTIAL-BREACH-B:displacement_up", "chainage 0 to 20 m"), "completeness": ("observations in 24 hours",),
    "expression": ("a = 9, b = 5",), "anomaly": ("spike (anomaly)", "score 12"), "change_point": ("step (velocity)", "size -12 ± 1 mm"),
    "tamper": ("meter interfered with (tamper)",), "layer_closure": ("closure error (closure)",), "common_mode": ("common motion",),
    "finding": ("inelastic compaction",), "silence": ("Missing (1/1 datastreams)",), "time_to_limit": ("Limit ahead: L1",),
    "acceleration": ("Compared: mean rate",),
}  # fmt: skip
"""What each kind must say beside what, where, how much, limit, source, how sure, since when, action and owner."""


def station_of(kind: str, verdict: Verdict) -> str:
    return f"{kind}-{verdict.value}".replace("_", "-").upper()


def rule_for(kind: str, verdict: Verdict) -> dict[str, Any]:
    """The case's rule, held to the case's own station."""
    content, _ = CASES[kind, verdict]
    station = station_of(kind, verdict)
    named = json.loads(json.dumps(content).replace("@", station))
    scope = named.get("scope")
    if scope is not None:
        scope["datastream"] = f"{station}:*"
    header = {
        "code": f"{kind}-{verdict.value}",
        "kind": kind,
        "name_zh": f"规则{kind}",
        "name_en": f"Rule {kind}",
        "source": "test",
    }
    return {**header, **named}


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything stored, the worker running."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=database_url,
        mqtt_url="mqtt://127.0.0.1:9",
        tick_every_s=0.5,
        analyse_every_s=3600.0,
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), _Telephone) as server, Container(settings) as container:
        server.got = []  # type: ignore[attr-defined]
        listening = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        listening.start()
        apply_vocabulary(container.registers)
        container.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        container.alerts.save_receiver(Receiver("staff", "webhook", {"url": f"http://127.0.0.1:{server.server_port}/"}))
        for kind, verdict in CASES:
            container.alerts.save_rule(parse_rule(rule_for(kind, verdict)), now=NOW)
        stop = threading.Event()
        worker = threading.Thread(target=run_worker, args=(container, stop))
        worker.start()
        city = World(container, server.got)  # type: ignore[attr-defined]
        city.scopes = {
            f"{kind}-{verdict.value}": feed(city, station_of(kind, verdict)) for (kind, verdict), (_, feed) in CASES.items()
        }
        yield city
        stop.set()
        worker.join(timeout=20)
        server.shutdown()
        listening.join()


def state_of(world: World, rule: str) -> RuleState | None:
    found = [state for state in world.container.alerts.rule_states(rule_code=rule) if state.scope == world.scopes[rule]]
    return found[0] if found else None


def test_every_kind_has_its_three_cases() -> None:
    assert {kind for kind, _ in CASES} == set(RULES)
    assert all((kind, verdict) in CASES for kind in RULES for verdict in Verdict)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_a_breach_is_told(world: World, kind: str) -> None:
    rule = f"{kind}-breach"
    wait_until(lambda: any(body["alert"]["rule"] == rule for body in world.got), timeout=30.0)
    body = next(body for body in world.got if body["alert"]["rule"] == rule)
    assert (body["message_type"], body["alert"]["scope"], body["alert"]["state"]) == ("Alert", world.scopes[rule], "firing")
    alerts = world.container.alerts.list_alerts(AlertFilter(rule_code=rule))[0]
    assert [(alert.state, alert.level > Level.NONE) for alert in alerts] == [(AlertState.FIRING, True)]
    answer = world.container.engine.explain(alerts[0].identifier)
    assert answer["ok"], answer["differences"]
    for language in ("zh", "en"):
        assert len(body["explanation"][language].splitlines()) >= 9
        assert body["headline"][language]
    for said in TOLD.get(kind, ()):
        assert said in body["explanation"]["en"], body["explanation"]["en"]


@pytest.mark.parametrize("kind", sorted(RULES))
@pytest.mark.parametrize("verdict", [OK, CANNOT_TELL])
def test_what_is_ok_or_cannot_be_told_is_recorded_and_tells_nobody(world: World, kind: str, verdict: Verdict) -> None:
    rule = f"{kind}-{verdict.value}"
    wait_until(lambda: (state := state_of(world, rule)) is not None and state.verdict is verdict, timeout=30.0)
    state = state_of(world, rule)
    assert state is not None
    assert bool(state.reason) or verdict is OK
    assert not world.container.alerts.list_alerts(AlertFilter(rule_code=rule))[0]
    assert not [body for body in world.got if body["alert"]["rule"] == rule]
