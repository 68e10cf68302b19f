"""A rule that is new looks over what is stored, and holds up no round for long while it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from alerts.engine import GROUP, LOOKED_OVER
from alerts.rules import parse_rule
from domain.alert import AlertState
from domain.alerting import RuleKey
from domain.model import Datastream
from tests.alerts.fakes import DEPTH, T0, Transaction, World

CODE = "W7:depth_to_water"
DAY = timedelta(days=1)


def test_a_new_rule_looks_over_what_is_stored_at_the_next_tick():
    world = World()
    world.feed(CODE, [(0, 13.0)])
    assert world.alerts == []
    world.store.save_rule(parse_rule(DEPTH), now=T0 + DAY)
    world.engine.tick(T0 + DAY)
    assert world.alerts[0].state is AlertState.FIRING


def test_a_look_over_of_many_scopes_holds_few_of_them_at_a_time(monkeypatch):
    world = World(DEPTH)
    wells = [f"W{number}" for number in range(100, 100 + GROUP)]
    for code in wells:
        world.registers.add(replace(world.registers.stations["W7"], code=code), Datastream(code, "depth_to_water", "m"))
        world.observations.put(world.identity(f"{code}:depth_to_water"), [(T0, 13.0, 0.1, 1)])
    held: set[RuleKey] = set()
    most_while_reading = 0
    transaction, series = world.store.transaction, world.observations.series

    @contextmanager
    def lent(keys: Sequence[RuleKey] = ()) -> Iterator[Transaction]:
        held.update(keys)
        with transaction(keys) as tx:
            yield tx
        held.difference_update(keys)

    def read(*args, **named):
        nonlocal most_while_reading
        most_while_reading = max(most_while_reading, len(held))
        return series(*args, **named)

    monkeypatch.setattr(world.store, "transaction", lent)
    monkeypatch.setattr(world.observations, "series", read)
    world.engine.tick(T0 + DAY)
    assert len(world.alerts) == len(wells)
    assert most_while_reading == LOOKED_OVER < GROUP
