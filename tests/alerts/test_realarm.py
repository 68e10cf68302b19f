"""What stands and is not acted on is announced anew, as an Update; what is out of service is not told at all until its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerts.cases import read_escalation
from alerts.engine import AlertEngine
from alerts.escalation import Escalator
from alerts.policy import parse_policy
from domain.alert import AlertState, MessageType
from domain.alerting import OUT_OF_SERVICE, Receiver, Silence, StoredPolicy
from domain.errors import InputError
from tests.alerts.fakes import DEPTH, ISSUER, SILENT, T0, World

CODE = "W7:depth_to_water"
DAY = timedelta(days=1)


def policy(world: World, **content: Any) -> None:
    world.store.tables.policies.append(StoredPolicy(1, content, "test", "", T0))


@pytest.fixture
def world() -> World:
    """A red alert that a person confirmed half an hour after it was opened, and a receiver."""
    world = World(DEPTH)
    world.store.save_receiver(Receiver("desk", "webhook", {}))
    world.feed(CODE, [(0.0, 10.0), (1.0, 60.0)])
    world.engine.confirm(1, "director", "seen", T0 + DAY + timedelta(minutes=30))
    return world


def told(world: World) -> list[tuple[str, str]]:
    return [(item.message_type.value, item.payload["headline"]["en"][:6]) for item in world.store.tables.outbox.values()]


CONFIRMED = T0 + DAY + timedelta(minutes=30)


def test_what_nobody_acts_on_is_announced_anew_once_a_day_as_an_update_of_the_same_alert(world: World) -> None:
    assert [kind for kind, _ in told(world)] == ["Alert"]
    for hours, expected in ((23.9, 1), (24, 2), (25, 2), (47.9, 2), (48, 3), (48.5, 3)):
        world.engine.tick(CONFIRMED + timedelta(hours=hours))
        assert len(told(world)) == expected, hours
    assert [kind for kind, _ in told(world)] == ["Alert", "Update", "Update"]
    (alert,) = world.alerts
    messages = world.store.cap_messages(alert.alert_id or 0)
    assert [len(item.reference_list.split()) for item in messages] == [0, 1, 2]
    steps = [step for step in world.store.transitions(alert.alert_id or 0) if step.kind == "realarmed"]
    assert ["24.0 h" in step.reason for step in steps] == [True, True]
    newest = list(world.store.tables.outbox.values())[-1].payload
    assert "announced again, 2" in newest["headline"]["en"] and "第 2 次重申" in newest["headline"]["zh"]
    assert "announcedAgain" in messages[2].body and "announcedAgain" not in messages[0].body


def test_a_worker_that_was_down_for_a_week_announces_once(world: World) -> None:
    world.engine.tick(CONFIRMED + 7 * DAY)
    restarted = AlertEngine(world.store, world.observations, world.registers, ISSUER)
    restarted.tick(CONFIRMED + 7 * DAY + timedelta(minutes=1))
    assert [kind for kind, _ in told(world)] == ["Alert", "Update"]


def test_an_acknowledgement_puts_it_off_and_what_is_announced_anew_asks_for_another(world: World) -> None:
    world.engine.acknowledge(1, "xu", "on my way", CONFIRMED + timedelta(hours=20))
    world.engine.tick(CONFIRMED + timedelta(hours=25))
    assert len(told(world)) == 1
    world.engine.tick(CONFIRMED + timedelta(hours=44))
    assert len(told(world)) == 2 and world.alerts[0].acknowledged_by == "xu"
    assert "unanswered_since" in world.alerts[0].memory
    county = Receiver("county", "webhook", {"escalations": ["county"]}, matchers={"station": "nobody"})
    world.store.save_receiver(county)
    steps = read_escalation([{"to": "county", "after_h": 2}], "node")
    assert len(Escalator(world.store, steps).run(CONFIRMED + timedelta(hours=47))) == 1
    world.engine.acknowledge(1, "xu", "there", CONFIRMED + timedelta(hours=48))
    assert "unanswered_since" not in world.alerts[0].memory


def test_what_a_case_holds_is_in_hand(world: World) -> None:
    world.store.tables.in_cases = {1}
    world.engine.tick(CONFIRMED + 3 * DAY)
    assert len(told(world)) == 1
    world.store.tables.in_cases = set()  # closed, and it still stands
    world.engine.tick(CONFIRMED + 3 * DAY)
    assert len(told(world)) == 2


def test_mild_ones_waiting_ones_and_a_policy_without_a_time_are_left_alone() -> None:
    mild = World(DEPTH)
    mild.store.save_receiver(Receiver("desk", "webhook", {}))
    mild.feed(CODE, [(0.0, 10.5)])
    assert mild.alerts[0].level.word in {"blue", "yellow"}
    mild.engine.tick(T0 + 9 * DAY)
    assert [kind for kind, _ in told(mild)] == ["Alert"]
    policy(mild, realarm={"source": "test", "from": "blue", "after": "PT12H"})
    mild.engine.tick(T0 + 9 * DAY)
    assert [kind for kind, _ in told(mild)] == ["Alert", "Update"]
    waits = World(DEPTH)
    waits.store.save_receiver(Receiver("desk", "webhook", {}))
    waits.feed(CODE, [(0.0, 10.0), (1.0, 60.0)])
    waits.engine.tick(T0 + 9 * DAY)
    assert told(waits) == [], "nobody has confirmed it"


def test_never_is_never_and_a_wrong_time_is_refused(world: World) -> None:
    policy(world, realarm={"source": "test"})
    world.engine.tick(CONFIRMED + 90 * DAY)
    assert len(told(world)) == 1
    for wrong in (
        {"source": "t", "after": "soon"},
        {"source": "t", "from": "pink"},
        {"source": "t", "every": "P1D"},
        {"after": "P1D"},
    ):
        with pytest.raises(InputError, match="realarm"):
            parse_policy({"realarm": wrong})


def out(begin: timedelta, end: timedelta, **matchers: Any) -> Silence:
    return Silence(matchers, T0 + begin, T0 + end, "wang", "under repair", kind=OUT_OF_SERVICE)


def test_a_sensor_out_of_service_is_judged_and_not_told_and_what_stands_at_its_end_goes_out() -> None:
    world = World(DEPTH)
    world.store.save_receiver(Receiver("desk", "webhook", {}))
    world.store.add_silence(out(timedelta(), 5 * DAY, datastream=CODE))
    world.feed(CODE, [(0.0, 10.5)])
    (alert,) = world.alerts
    assert alert.state is AlertState.FIRING and told(world) == []
    assert alert.memory["held"] == OUT_OF_SERVICE
    (step,) = [step for step in world.store.transitions(1) if step.kind == OUT_OF_SERVICE]
    assert "wang" in step.reason and "under repair" in step.reason
    world.feed(CODE, [(1.0, 12.5)], now=T0 + DAY)
    world.engine.tick(T0 + 2 * DAY)
    assert told(world) == [], "what gets worse is told: it is not shelved, its sensor is worth nothing"
    world.engine.tick(T0 + 5 * DAY)
    world.engine.tick(T0 + 5 * DAY + timedelta(minutes=1))
    assert len(told(world)) == 1, "told and announced anew in one breath"


def test_a_rule_out_of_service_goes_before_a_silence_and_is_neither_told_on_nor_announced_anew(world: World) -> None:
    world.store.add_silence(Silence({"station": "*"}, T0, T0 + 99 * DAY, "xu", "drill"))
    world.store.add_silence(out(2 * DAY, 9 * DAY, rule=world.alerts[0].rule_code))
    assert not world.engine.is_out_of_service(world.alerts[0], T0 + DAY)
    assert world.engine.is_out_of_service(world.alerts[0], T0 + 3 * DAY)
    steps = read_escalation([{"to": "county", "after_h": 2}], "node")
    world.store.save_receiver(Receiver("county", "webhook", {"escalations": ["county"]}, matchers={"station": "nobody"}))
    escalator = Escalator(world.store, steps, is_out=world.engine.is_out_of_service)
    assert escalator.run(T0 + 3 * DAY) == [] and len(escalator.run(T0 + 10 * DAY)) == 1
    world.engine.tick(T0 + 5 * DAY)
    assert [kind for kind, _ in told(world)] == ["Alert", "Update"], "only the county was told, after its end"


def test_a_datastream_out_of_service_is_not_called_silent() -> None:
    world = World(SILENT)
    world.store.save_receiver(Receiver("desk", "webhook", {}))
    world.feed(CODE, [(0.0, 10.0)])
    world.store.add_silence(out(timedelta(), 30 * DAY, datastream=CODE))
    world.engine.tick(T0 + 20 * DAY)
    assert world.alerts == []
    world.engine.tick(T0 + 31 * DAY)
    assert len(world.alerts) == 1 and [kind for kind, _ in told(world)] == [MessageType.ALERT.value]
