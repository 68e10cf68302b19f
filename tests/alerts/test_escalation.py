"""Alerts without an answer are told on once a body; an answer covers what was seen, and what gets worse asks anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from alerts.cases import read_escalation
from alerts.escalation import Escalator
from alerts.routing import read_duty
from domain.alert import Level
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


def test_an_acknowledgement_covers_what_was_seen_and_what_gets_worse_asks_anew() -> None:
    world = World(DEPTH)
    world.store.save_receiver(Receiver("county-hook", "webhook", {"escalations": ["county"]}, matchers={"station": "nobody"}))
    world.feed(CODE, [(0, 10.5)])
    number = world.alerts[0].alert_id or 0
    world.engine.acknowledge(number, "xu", "seen", T0 + timedelta(hours=1))
    world.feed(CODE, [(0.5, 10.9)])
    assert Escalator(world.store, STEPS).run(T0 + timedelta(days=1)) == []
    assert world.alerts[0].acknowledged_by == "xu"
    worse = T0 + timedelta(days=2)
    world.feed(CODE, [(2, 12.5)], now=worse)
    assert world.alerts[0].memory["unanswered_since"] == worse.isoformat()
    assert Escalator(world.store, STEPS).run(worse + timedelta(hours=1)) == []
    assert len(Escalator(world.store, STEPS).run(worse + timedelta(hours=3))) == 1
    kinds = [step.kind for step in world.store.transitions(number)]
    assert kinds == ["fired", "acknowledged", "raised", "escalated"], "who acknowledged what stays in the history"
    world.engine.acknowledge(number, "wang", None, worse + timedelta(hours=4))
    world.feed(CODE, [(3, 10.5)])
    world.feed(CODE, [(4, 12.5)])
    assert world.alerts[0].acknowledged_by == "wang"
    assert "unanswered_since" not in world.alerts[0].memory, "it was as bad as that when it was seen"
    world.feed(CODE, [(5, 15.5)])
    world.engine.confirm(number, "wang", None, T0 + timedelta(days=5, hours=1))
    assert len(Escalator(world.store, STEPS).run(T0 + timedelta(days=5, hours=4))) == 1
    assert told(world) == ["county-hook", "county-hook"], "each time under a key of its own"


def test_only_hours_of_duty_count_towards_a_deadline_but_for_the_worst(world: World) -> None:
    week = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}
    duty = read_duty({"hours": {"windows": [week], "always_from": "red"}}, "x")
    opened = world.alerts[0].opened_at.replace(hour=16, minute=30)  # Friday, 2 January
    (identity,) = world.store.tables.alerts
    blue = replace(world.alerts[0], opened_at=opened, level=Level.BLUE)
    world.store.tables.alerts[identity] = blue
    escalator = Escalator(world.store, STEPS, duty, UTC)
    assert opened.weekday() == 4
    assert escalator.run(opened + timedelta(days=2, hours=12)) == [], "a weekend"
    monday = (opened + timedelta(days=3)).replace(hour=10, minute=29)
    assert escalator.run(monday) == []
    assert len(escalator.run(monday + timedelta(minutes=2))) == 1
    world.store.tables.alerts[identity] = replace(blue, level=Level.RED, memory={})
    assert len(escalator.run(opened + timedelta(hours=3))) == 1
