"""Rules that are told to be quiet together end in the very states that carrying each of them forward gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.quiet import Quiet
from domain.alerting import RuleState
from domain.model import EventEffect, EventKind, StationEvent
from tests.alerts.fakes import DEPTH, RATE, STAFF, T0, World

CODE, SPEED = "W7:depth_to_water", "WY01:displacement_up_rate_12mo"
CENTIMETRES = {**DEPTH, "code": "cm", "unit": "cm", "levels": {"blue": 1000, "red": 1500}, "deadband": 50}
SHALLOW = {**DEPTH, "code": "shallow", "direction": "below", "levels": {"blue": 7.5}, "deadband": 0.25}
RULES = ({**DEPTH, "fresh_for": "P999D"}, {**CENTIMETRES, "fresh_for": "P999D"}, {**RATE, "fresh_for": "P999D"})
VALUES = st.sampled_from([8.0, 8.0, 8.0, 9.4999999999, 9.5, 9.5000000001, 10.0, 12.5, float("nan"), -4.0, -6.0])
ROWS = st.lists(
    st.tuples(st.integers(0, 40), VALUES, st.sampled_from([1, 1, 1, 2, 4])), min_size=1, max_size=14, unique_by=lambda row: row[0]
)


def run(rows: list[tuple[int, float, int]], edges: list[int]) -> World:
    """Feed the rows to both datastreams in the batches that the edges cut."""
    world = World(*RULES)
    world.store.save_receiver(STAFF)
    for begin, end in pairwise(edges):
        times = [(T0 + timedelta(hours=hour), value, 0.1, quality) for hour, value, quality in rows[begin:end]]
        changes = [world.observations.put(world.identity(code), times) for code in (CODE, SPEED)]
        world.engine.evaluate(changes, T0 + timedelta(hours=41))
    return world


def without_seen(state: RuleState) -> RuleState:
    """The state but for the note from when on it has been carried forward, which only spares work."""
    return replace(state, memory={name: value for name, value in state.memory.items() if name != "seen"})


def stand(world: World) -> tuple[object, ...]:
    states = {key: without_seen(state) for key, state in world.store.tables.states.items()}
    alerts = [(item.key, item.state, item.level, item.peak_level, item.onset, item.ended, item.verdict) for item in world.alerts]
    return states, alerts, world.messages


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(1, 13), max_size=8))
def test_told_together_or_carried_forward_one_by_one_the_states_are_the_same(rows, order, cuts):
    order.shuffle(rows)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    together = run(rows, edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quiet, "still", lambda *_: {})
        one_by_one = run(rows, edges)
    assert repr(stand(together)) == repr(stand(one_by_one))  # NaN is like NaN in words


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rules each evaluation told to be quiet."""
    counts: list[int] = []
    plain = Quiet.still

    def still(self: Quiet, *given: object) -> dict[object, RuleState]:
        found = plain(self, *given)  # type: ignore[arg-type]
        counts.append(len(found))
        return found  # type: ignore[return-value]

    monkeypatch.setattr(Quiet, "still", still)
    return counts


def test_a_quiet_rule_is_told_without_being_carried_and_a_breach_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spied(monkeypatch)
    world = World(DEPTH)
    for day, value in ((0, 8.0), (0.1, 8.1), (0.2, 11.0), (0.3, 8.0), (0.4, 8.0)):
        world.feed(CODE, [(day, value)])
    assert counts == [0, 1, 0, 0, 1]
    assert world.messages == ["Alert", "Update"]


def test_a_direction_below_is_quiet_above_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spied(monkeypatch)
    world = World(SHALLOW)
    for day, value in ((0, 9.0), (0.1, 8.0), (0.2, 7.6), (0.3, 7.0)):
        world.feed(CODE, [(day, value)])
    assert counts == [0, 1, 0, 0]
    assert world.messages == ["Alert"]


def test_where_a_log_excludes_observations_nothing_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spied(monkeypatch)
    world = World(DEPTH)
    event = StationEvent("W7", EventKind.MAINTENANCE, T0, T0 + timedelta(days=1), EventEffect.EXCLUDE)
    world.registers.all_events.append(event)
    for day in (0, 0.1, 1.2, 1.3):
        world.feed(CODE, [(day, 8.0)])
    assert counts == [0, 0, 0, 0]
