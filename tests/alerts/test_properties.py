"""Episodes are a function of the observations and now: any order and batching of the same ones end the same, and nobody is told twice."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.cap import parse
from alerts.catalogue import Catalogue
from alerts.rules import parse_rule
from domain.alert import AlertState, Level
from domain.model import Datastream, Station, StationKind
from tests.alerts.fakes import DEPTH, STAFF, T0, World

CODE = "W7:depth_to_water"
VALUES = st.sampled_from([8.0, 9.7, 10.2, 11.0, 12.5, 16.0])
ROWS = st.lists(
    st.tuples(st.integers(0, 60), VALUES, st.sampled_from([1, 1, 1, 4])), min_size=1, max_size=25, unique_by=lambda row: row[0]
)
POLICIES = st.sampled_from([{}, {"hold": "PT2H"}, {"clear_hold": "PT3H"}, {"hold": "PT1H", "clear_hold": "PT2H"}])


def run(rule: dict[str, object], batches: list[list[tuple[int, float, int]]], hours: int) -> World:
    """Feed batches one after the other; now is one moment, so that only the order of arrival differs."""
    world = World(rule)
    world.store.save_receiver(STAFF)
    world.store.save_policy(
        {"grouping": [], "flapping": {"source": "test", "changes": 10_000, "window": "PT1H"}}, author="t", reason="", now=T0
    )
    identity = world.identity(CODE)
    for batch in batches:
        now = T0 + timedelta(hours=hours)
        change = world.observations.put(
            identity, [(T0 + timedelta(hours=hour), value, 0.1, quality) for hour, value, quality in batch]
        )
        world.engine.evaluate([change], now)
        world.engine.tick(now)
    return world


def stand(world: World) -> list[tuple[object, ...]]:
    """What is open, and what the stored state says."""
    episodes = [
        (alert.state, alert.level, alert.peak_level, alert.onset, alert.verdict)
        for alert in world.alerts
        if alert.state is not AlertState.RESOLVED
    ]
    states = [
        (state.verdict, state.level, state.value, state.reason, state.event_time) for state in world.store.tables.states.values()
    ]
    return [*sorted(episodes, key=str), *states]


def over(world: World) -> set[tuple[str, str | None]]:
    """Onset and end of every stretch that is over, whether somebody was told or it is silent history."""
    found: set[tuple[str, str | None]] = set()
    for alert in world.alerts:
        found |= {(begin, end) for begin, end in alert.memory.get("past", ())}
        if alert.state is AlertState.RESOLVED and not _is_void(alert):
            found.add((alert.onset.isoformat(), alert.ended.isoformat() if alert.ended else None))
    return found


def told_once(world: World) -> None:
    """No episode has two Alerts, and every later message refers to the ones before."""
    by_alert: dict[int, list[object]] = {}
    for message in world.store.tables.cap:
        by_alert.setdefault(message.alert_id, []).append(message)
    for messages in by_alert.values():
        kinds = [message.message_type.value for message in messages]  # type: ignore[attr-defined]
        assert kinds[0] == "Alert"
        assert kinds.count("Alert") == 1
        for before, after in pairwise(messages):
            assert before.identifier in after.reference_list  # type: ignore[attr-defined]
    spans = sorted((alert.onset, alert.ended or T0 + timedelta(days=9999)) for alert in world.alerts if not _is_void(alert))
    assert all(first[1] <= second[0] for first, second in pairwise(spans)), "two alerts on one stretch"
    keys = [item.idempotency_key for item in world.store.notifications()]
    assert len(keys) == len(set(keys))
    assert all(parse(message.body.encode()) is not None for message in world.store.tables.cap)


def _is_void(alert: object) -> bool:
    memory = alert.memory  # type: ignore[attr-defined]
    return bool(memory.get("cancelled") or memory.get("history"))


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, policy=POLICIES, order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(1, 24), max_size=6))
def test_any_order_and_batching_ends_in_the_same_episodes(rows, policy, order, cuts):
    rule = {**DEPTH, **policy, "fresh_for": "P999D"}
    hours = 61
    plain = run(rule, [sorted(rows)], hours)
    shuffled = list(rows)
    order.shuffle(shuffled)
    edges = sorted({0, len(shuffled), *(cut for cut in cuts if cut < len(shuffled))})
    mixed = run(rule, [shuffled[a:b] for a, b in pairwise(edges)], hours)
    assert stand(mixed) == stand(plain)
    assert over(mixed) == over(plain)
    told_once(mixed)
    told_once(plain)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, corrected=ROWS, order=st.randoms(use_true_random=False))
def test_corrections_end_where_the_corrected_record_does_and_send_no_second_alert(rows, corrected, order):
    rule = {**DEPTH, "fresh_for": "P999D"}
    final = {row[0]: row for row in rows} | {row[0]: row for row in corrected}
    late = list(corrected)
    order.shuffle(late)
    mixed = run(rule, [sorted(rows), *[[row] for row in late]], 61)
    plain = run(rule, [sorted(final.values())], 61)
    assert stand(mixed) == stand(plain)
    told_once(mixed)


@settings(max_examples=20, deadline=None)
@given(rows=ROWS, again=st.integers(0, 24))
def test_a_worker_that_starts_anew_changes_nothing(rows, again):
    from alerts.engine import AlertEngine
    from tests.alerts.fakes import ISSUER

    rule = {**DEPTH, "fresh_for": "P999D"}
    world = run(rule, [[row] for row in sorted(rows)], 61)
    before, messages = stand(world), list(world.store.tables.cap)
    fresh = AlertEngine(world.store, world.observations, world.registers, ISSUER)
    row = rows[again % len(rows)]
    time = T0 + timedelta(hours=row[0])
    fresh.evaluate([(world.identity(CODE), time, time)], T0 + timedelta(hours=61))
    fresh.tick(T0 + timedelta(hours=61))
    assert stand(world) == before
    assert world.store.tables.cap == messages


@settings(max_examples=20, deadline=None)
@given(rows=ROWS, hidden=st.integers(1, 20))
def test_a_gap_never_resolves(rows, hidden):
    rule = {**DEPTH, "fresh_for": "P999D"}
    world = run(rule, [sorted(rows), [(61, 16.0, 1)]], 62)
    assert [alert.level for alert in world.alerts if alert.state is AlertState.FIRING] == [Level.RED]
    blind = [(62 + number, 1.0, 4) for number in range(hidden)]
    change = world.observations.put(
        world.identity(CODE), [(T0 + timedelta(hours=hour), value, 0.1, q) for hour, value, q in blind]
    )
    world.engine.evaluate([change], T0 + timedelta(hours=90))
    assert [alert.level for alert in world.alerts if alert.state is AlertState.FIRING] == [Level.RED]


# --- the cost of an observation -------------------------------------------------------------------------------------


def unrelated(count: int) -> list[dict[str, object]]:
    """Rules on other datastreams of the same property, half by name and half by their zone."""
    return [
        {**DEPTH, "code": f"other-{number}",
         "scope": {"datastream": f"X{number}:depth_to_water"} if number % 2 else {"property": "depth_to_water", "zone": f"zone-{number}"}}
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [10, 2000])
def test_an_observation_costs_no_more_with_two_thousand_unrelated_rules(count):
    world = World(DEPTH, *unrelated(count))
    for number in range(30):
        world.feed(CODE, [(number / 24, 9.0 + number * 0.01)])
    catalogue = world.engine._tasks.catalogue
    first = catalogue.looked_at
    for number in range(30, 60):
        world.feed(CODE, [(number / 24, 9.0 + number * 0.01)])
    assert catalogue.looked_at == first, "rules that were told apart once are not looked at again"
    assert len(world.store.tables.states) == 1


def test_what_looks_alike_to_scopes_is_told_apart_once():
    catalogue = Catalogue([parse_rule(rule) for rule in unrelated(1000)])
    stations = [Station(f"S{number}", StationKind.OBSERVATION_WELL, "井", "Well", zone_code="zone-4") for number in range(500)]
    found = [catalogue.about(Datastream(station.code, "depth_to_water", "m"), station) for station in stations]
    assert {tuple(rule.code for rule in rules) for rules in found} == {("other-4",)}
    assert catalogue.looked_at == 500  # each of the general rules once, however many stations there are
