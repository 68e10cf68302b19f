"""Times of alerts while observations are committed in the middle of a round: nothing is dated before what it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.rules import parse_rule
from domain.alert import AlertState
from domain.model import Datastream
from tests.alerts.fakes import DEPTH, SILENT, STAFF, T0, World

CODE = "W7:depth_to_water"
HOUR = timedelta(hours=1)
NO_GROUPS = {"grouping": [], "flapping": {"source": "test", "changes": 10_000, "window": "PT1H"}}


@dataclass
class Clock:
    """A clock that goes on as told, and by `each` whenever it is asked."""

    now: datetime = T0
    each: timedelta = timedelta()

    def __call__(self) -> datetime:
        self.now += self.each
        return self.now

    def passes(self, span: timedelta) -> datetime:
        self.now += span
        return self.now


def meanwhile(thing: Any, name: str, happens: Callable[[], object]) -> None:
    """Let something happen just before the next call of a method."""
    method = getattr(thing, name)

    def call(*args: Any, **named: Any) -> Any:
        setattr(thing, name, method)
        happens()
        return method(*args, **named)

    setattr(thing, name, call)


def told(rule: dict[str, Any]) -> World:
    world = World(rule)
    world.store.save_receiver(STAFF)
    return world


def times_of(world: World) -> list[datetime]:
    """Every time that an alert, its transitions and notifications were dated by; messages have whole seconds and stand aside."""
    alerts = [time for alert in world.alerts for time in (alert.opened_at, alert.updated_at)]
    issued = [datetime.fromisoformat(alert.memory["issued"]["at"]) for alert in world.alerts if "issued" in alert.memory]
    steps = [step.recorded_at for step in world.store.tables.transitions]
    outbox = [item.created_at for item in world.store.tables.outbox.values()]
    return [*alerts, *issued, *steps, *outbox]


def breach_meanwhile(world: World, clock: Clock, depth_m: float = 13.0) -> list[datetime]:
    """Commit a breach once the next round reads, and return where its time will stand."""
    committed: list[datetime] = []

    def commit() -> None:
        clock.passes(timedelta(seconds=0.486))
        world.observations.put(world.identity(CODE), [(clock.now - timedelta(seconds=0.1), depth_m, 0.1, 1)])
        committed.append(clock.now)
        clock.passes(timedelta(seconds=0.02))

    meanwhile(world.store, "current_seq", commit)
    return committed


def test_no_alert_opens_before_a_commit_that_the_round_came_upon_while_it_ran():
    world, clock = told(DEPTH), Clock(T0 + HOUR)
    change = world.observations.put(world.identity(CODE), [(T0, 9.0, 0.1, 1)])
    committed = breach_meanwhile(world, clock)
    world.engine.evaluate([change], clock(), clock)
    (alert,) = world.alerts
    assert alert.state is AlertState.FIRING
    assert all(committed[0] <= time <= clock.now for time in times_of(world)), (committed, times_of(world))
    assert [message.sent for message in world.store.tables.cap] == [alert.opened_at.replace(microsecond=0)]
    assert committed[0] <= world.store.tables.states[alert.key].evaluated_at <= clock.now


def test_no_alert_of_a_new_rule_opens_before_a_commit_that_came_after_the_tick_began():
    world, clock = told(DEPTH), Clock(T0 + HOUR)
    world.observations.put(world.identity(CODE), [(T0, 9.0, 0.1, 1)])
    committed = breach_meanwhile(world, clock)
    world.engine.tick(clock(), clock)
    assert len(world.alerts) == 1
    assert all(committed[0] <= time <= clock.now for time in times_of(world)), (committed, times_of(world))


def test_what_is_carried_forward_quietly_is_not_dated_before_its_commit_either():
    world, clock = told(DEPTH), Clock(T0 + HOUR)
    world.engine.evaluate([world.observations.put(world.identity(CODE), [(T0, 9.0, 0.1, 1)])], clock(), clock)
    for calm_m in (9.1, 9.6):  # by its single value, and by its trace: the second lies within the deadband
        change = world.observations.put(world.identity(CODE), [(clock.now, 9.0, 0.1, 1)])
        began = clock.passes(HOUR)
        committed = breach_meanwhile(world, clock, calm_m)
        world.engine.evaluate([change], began, clock)
        (state,) = world.store.tables.states.values()
        assert state.value == calm_m
        assert began < committed[0] <= state.evaluated_at <= clock.now
    assert world.alerts == []


def test_a_station_is_not_called_silent_by_a_time_after_its_arrivals_were_read():
    world, clock = told(SILENT), Clock(T0)
    world.feed(CODE, [(0, 9.0)])

    def arrives() -> None:
        clock.passes(timedelta(minutes=2))
        world.observations.put(world.identity(CODE), [(clock.now, 9.0, 0.1, 1)])
        clock.passes(timedelta(minutes=20))

    clock.passes(timedelta(hours=2, minutes=50))
    meanwhile(world.registers, "station", arrives)  # the arrivals were read just before
    world.engine.tick(clock(), clock)
    assert clock.now - T0 > 3 * HOUR
    assert world.alerts == []


def test_an_alert_of_a_silence_is_not_dated_before_the_commit_of_the_last_that_it_names():
    world, clock = told(SILENT), Clock(T0 + 10 * HOUR)
    world.feed(CODE, [(0, 9.0)])
    committed: list[datetime] = []

    def backfill() -> None:
        committed.append(clock.passes(timedelta(seconds=5)))
        world.observations.put(world.identity(CODE), [(T0 + HOUR, 9.0, 0.1, 1)])

    meanwhile(world.registers, "heard", backfill)
    began = clock.passes(HOUR)
    world.engine.tick(began, clock)
    (alert,) = world.alerts
    assert alert.evidence["details"]["last_heard"] == (T0 + HOUR).isoformat()
    assert alert.evidence["at"] == began.isoformat()
    assert all(committed[0] <= time <= clock.now for time in times_of(world)), (committed, times_of(world))
    assert world.engine.explain(alert.identifier)["ok"]


def test_a_silence_is_explained_though_its_station_was_heard_of_just_after_the_arrivals_were_read():
    world, clock = told(SILENT), Clock(T0)
    world.feed(CODE, [(0, 9.0)])
    began = clock.passes(10 * HOUR)

    def arrives() -> None:
        late = began - timedelta(seconds=1)  # it was on its way when the tick began
        world.observations.put(world.identity(CODE), [(late, 9.0, 0.1, 1)])
        clock.passes(timedelta(milliseconds=5))

    for name in ("current_seq", "receivers"):
        meanwhile(world.store, name, arrives)
    world.engine.tick(began, clock)
    (alert,) = world.alerts
    assert alert.evidence["details"]["last_heard"] == T0.isoformat()
    assert world.engine.explain(alert.identifier)["ok"]


def test_a_decision_that_waited_for_an_evaluation_is_not_dated_before_it():
    world, clock = told(DEPTH), Clock(T0 + HOUR)
    asked = clock.now
    world.engine.evaluate([world.observations.put(world.identity(CODE), [(T0, 13.0, 0.1, 1)])], clock(), clock)
    clock.passes(timedelta(seconds=1))
    world.engine.evaluate([world.observations.put(world.identity(CODE), [(T0 + HOUR, 16.0, 0.1, 1)])], clock(), clock)
    world.engine.acknowledge(1, "王工", None, asked)
    world.engine.confirm(1, "王工", None, asked)
    world.engine.shelve(1, "王工", "测试", asked + HOUR, asked)
    assert_in_order(world)
    assert world.alerts[0].updated_at == clock.now


def test_a_clock_that_was_set_back_dates_nothing_before_what_was_there():
    world = told(DEPTH)
    world.feed(CODE, [(0, 11.0)], now=T0 + 5 * HOUR)
    world.feed(CODE, [(0.1, 16.0)], now=T0 + 4 * HOUR)
    world.feed(CODE, [(0.11, 9.0)], now=T0 + 3 * HOUR)
    assert [alert.state for alert in world.alerts] == [AlertState.RESOLVED]
    assert_in_order(world)


def assert_in_order(world: World) -> None:
    for alert in world.alerts:
        steps = [step.recorded_at for step in world.store.tables.transitions if step.alert_id == alert.alert_id]
        sent = [message.sent for message in world.store.tables.cap if message.alert_id == alert.alert_id]
        assert steps == sorted(steps)
        assert sent == sorted(sent)
        assert all(alert.opened_at <= time <= alert.updated_at for time in steps)
        assert all(alert.opened_at.replace(microsecond=0) <= time <= alert.updated_at for time in sent)


SECONDS = st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds))
ROUNDS = st.lists(
    st.tuples(st.sampled_from([9.0, 9.7, 11.0, 12.5, 16.0]), SECONDS, SECONDS, SECONDS, st.booleans()), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(rounds=ROUNDS)
def test_however_commits_fall_among_rounds_nothing_is_dated_before_what_it_rests_on(rounds):
    """Each round is told of one commit, and another commit comes while it reads; the clock never stands still."""
    world, clock = told(DEPTH), Clock(T0, each=timedelta(milliseconds=1))
    world.store.save_policy(NO_GROUPS, author="t", reason="", now=T0)
    world.store.save_rule(parse_rule(SILENT), now=T0)
    committed: dict[str, datetime] = {}

    def commit(depth_m: float) -> tuple[int, datetime, datetime]:
        at = clock()
        committed[at.isoformat()] = at
        return world.observations.put(world.identity(CODE), [(at, depth_m, 0.1, 1)])

    for depth_m, before, during, after, ticks in rounds:
        clock.passes(before)
        change = commit(depth_m)

        def comes(depth_m: float = depth_m, during: timedelta = during, after: timedelta = after) -> None:
            clock.passes(during)
            commit(depth_m)
            clock.passes(after)

        meanwhile(world.store, "current_seq", comes)
        world.engine.evaluate([change], clock(), clock)
        if ticks:
            meanwhile(world.registers, "heard", comes)
            world.engine.tick(clock(), clock)
    assert_in_order(world)
    for step in world.store.tables.transitions:
        rests_on = step.evidence["at"] if step.evidence["read_seq"] else None
        assert committed.get(str(rests_on), T0) <= step.recorded_at
    for alert in world.alerts:
        seen = [committed[time] for time, *_ in alert.evidence["values"] if time in committed]
        assert all(time <= alert.updated_at for time in seen)
        heard = alert.evidence.get("details", {}).get("last_heard")
        assert heard is None or committed[heard] <= alert.updated_at


def test_a_notice_of_a_group_is_not_older_than_the_alerts_that_it_tells_of():
    world, clock = told(DEPTH), Clock(T0 + HOUR, each=timedelta(milliseconds=3))
    grouping = {
        "code": "all", "match": {}, "by": ["rule"], "after": 2, "wait": "PT0.001S", "interval": "PT0.001S", "source": "test",
    }  # fmt: skip
    world.store.save_policy({**NO_GROUPS, "grouping": [grouping]}, author="t", reason="", now=T0)
    world.registers.add(replace(world.registers.stations["W7"], code="W8"), Datastream("W8", "depth_to_water", "m"))
    for code in (CODE, "W8:depth_to_water"):
        world.observations.put(world.identity(code), [(T0, 13.0, 0.1, 1)])
    world.engine.tick(clock(), clock)  # both open in the tick that tells of them together
    (grouped,) = [alert for alert in world.alerts if "group_notice" in alert.memory]
    notice = datetime.fromisoformat(grouped.memory["group_notice"])
    assert notice > grouped.opened_at
    assert [item.created_at for item in world.store.tables.outbox.values()][-1] == notice
