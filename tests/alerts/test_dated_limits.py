"""An observation is held against the limits of its own day, whatever else is read with it and whatever the register says later."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.replay import Replay
from alerts.rules import parse_rule
from domain.alert import Level, Verdict
from domain.licence import Limit
from tests.alerts.fakes import DEPTH, T0, World

ZONE = ZoneInfo("Asia/Shanghai")
CODE = "W7:depth_to_water"
RULE = {name: value for name, value in DEPTH.items() if name != "levels"} | {"limits": "register", "limit_kinds": ["control"]}
DAYS = st.integers(-3, 25)


def limit(code: str, level: str, value: float, begin: int | None, end: int | None) -> Limit:
    def day(n: int | None) -> date | None:
        return None if n is None else (T0 + timedelta(days=n)).date()

    return Limit(
        code, "depth_to_water", "m", value, "control", level, source="test", effective_from=day(begin), effective_to=day(end)
    )


LIMITS = st.lists(
    st.builds(
        limit,
        st.just("L"),
        st.sampled_from(["blue", "yellow", "red"]),
        st.integers(5, 40).map(float),
        st.none() | DAYS,
        st.none() | DAYS,
    ),
    max_size=5,
)
ROWS = st.lists(
    st.tuples(st.integers(0, 20 * 24), st.floats(0, 50, allow_nan=False)), min_size=1, max_size=30, unique_by=lambda row: row[0]
)


def expected(limits: list[Limit], at: datetime, value: float) -> Level | None:
    """The worst level by the limits of that day alone, None where there are none: the last one that is named counts."""
    day = at.astimezone(ZONE).date()
    ladder = {item.level: item.value for item in limits if item.is_in_force(day)}
    words = {"blue": Level.BLUE, "yellow": Level.YELLOW, "red": Level.RED}
    return max((words[word] for word, figure in ladder.items() if value >= figure), default=Level.NONE) if ladder else None


@settings(deadline=None)
@given(ROWS, LIMITS)
def test_each_observation_is_judged_by_its_own_day(rows: list[tuple[int, float]], limits: list[Limit]) -> None:
    world = World()
    world.registers.all_limits += limits
    moments = sorted((T0 + timedelta(hours=hour), value) for hour, value in rows)
    world.observations.put(world.identity(CODE), [(at, value, float("nan"), 1) for at, value in moments])
    replay = Replay(world.observations, world.registers, None, ZONE)
    stream, station = world.registers.datastream(CODE), world.registers.station("W7")
    assert stream is not None and station is not None
    found = replay.whole(parse_rule(RULE), stream, station, T0 + timedelta(days=30), world.store.current_seq())
    assert found.trace is not None
    for row, (at, value) in enumerate(moments):
        level = expected(limits, at, value)
        assert bool(found.trace.blind[row]) == (level is None)
        assert level is None or int(found.trace.up[row]) == level
        assert level is not None or found.trace.reason[row] == "no_limit"


def test_a_limit_begins_and_ends_at_midnight_of_the_nodes_zone() -> None:
    begins = limit("L", "yellow", 10.0, 5, 7)
    world = World()
    world.registers.all_limits.append(begins)
    assert begins.effective_from is not None and begins.effective_to is not None
    edges = [datetime.combine(day, time(), ZONE).astimezone(UTC) for day in (begins.effective_from, begins.effective_to)]
    moments = sorted(edge + shift for edge in edges for shift in (-timedelta(microseconds=1), timedelta()))
    world.observations.put(world.identity(CODE), [(at, 20.0, float("nan"), 1) for at in moments])
    replay = Replay(world.observations, world.registers, None, ZONE)
    stream, station = world.registers.datastream(CODE), world.registers.station("W7")
    assert stream is not None and station is not None
    found = replay.whole(parse_rule(RULE), stream, station, T0 + timedelta(days=30), world.store.current_seq())
    assert found.trace is not None
    assert np.asarray(found.trace.up).tolist() == [0, int(Level.YELLOW), int(Level.YELLOW), 0]
    assert found.evaluation.verdict is Verdict.CANNOT_TELL and found.evaluation.reason == "no_limit"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_any_order_of_the_same_observations_ends_in_one_episode_by_the_limits_of_their_days(order: tuple[int, ...]) -> None:
    world = World(RULE)
    world.registers.all_limits += [limit("L", "yellow", 30.0, None, 2), limit("L", "yellow", 20.0, 2, None)]
    rows = [(1.0, 25.0), (1.5, 25.0), (2.5, 25.0), (3.0, 25.0)]
    for number in order:
        world.feed(CODE, [rows[number]], now=T0 + timedelta(days=4))
    (alert,) = [item for item in world.alerts if not item.memory.get("cancelled")]
    assert alert.onset == T0 + timedelta(days=2.5) and len(world.alerts) == 1
