"""Alerts without an answer are told on once a body; an answer ends it, whatever the level."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.cases import read_escalation
from alerts.escalation import Escalator
from domain.alerting import Receiver
from tests.alerts.fakes import DEPTH, T0, World

STEPS = read_escalation([{"to": "county", "after_h": 2}, {"to": "city", "after_h": 12}], "node")
CODE = "W7:depth_to_water"


@pytest.fixture
def world() -> World:
    world = World(DEPTH)
    world.store.save_receiver(Receiver("county-hook", "webhook", {"escalations": ["county"]}, matchers={"station": "nobody"}))
    world.store.save_receiver(Receiver("city-hook", "webhook", {"escalations": ["city"]}, matchers={"station": "nobody"}))
    world.feed(CODE, [(0.0, 10.0), (1.0, 60.0)])
    assert [alert.acknowledged_at for alert in world.alerts] == [None]
    return world


def told(world: World) -> list[str]:
    return [item.receiver_code for item in world.store.tables.outbox.values()]


def test_county_then_city_are_told_once_each_and_it_stands_in_the_history(world: World) -> None:
    opened = world.alerts[0].opened_at
    escalator = Escalator(world.store, STEPS)
    assert escalator.run(opened + timedelta(hours=2)) == []
    assert len(escalator.run(opened + timedelta(hours=2, seconds=1))) == 1
    assert escalator.run(opened + timedelta(hours=3)) == []
    assert len(escalator.run(opened + timedelta(hours=13))) == 1
    assert told(world) == ["county-hook", "city-hook"]
    steps = [step for step in world.store.transitions(world.alerts[0].alert_id or 0) if step.kind == "escalated"]
    assert [step.reason.rpartition(" ")[2] for step in steps] == ["county", "city"]
    payload = next(iter(world.store.tables.outbox.values())).payload
    assert payload["kind"] == "escalation" and "没有" not in payload["headline"]["zh"] and payload["escalated_to"] == "county"
    assert payload["alert"]["level"] == world.alerts[0].level.word


def test_what_is_answered_or_over_is_not_told_on(world: World) -> None:
    world.engine.acknowledge(world.alerts[0].alert_id or 0, "xu", None, T0 + timedelta(days=1, hours=1))
    assert Escalator(world.store, STEPS).run(T0 + timedelta(days=9)) == []
    assert told(world) == []


def test_without_steps_nothing_is_told(world: World) -> None:
    assert Escalator(world.store, ()).run(T0 + timedelta(days=99)) == []


def test_an_evaluation_afterwards_keeps_who_was_told(world: World) -> None:
    Escalator(world.store, STEPS).run(world.alerts[0].opened_at + timedelta(hours=3))
    world.feed(CODE, [(1.2, 61.0)])
    assert world.alerts[0].memory["escalated_to"] == "county"
    assert Escalator(world.store, STEPS).run(world.alerts[0].opened_at + timedelta(hours=6)) == []
