"""Episodes: hold, hysteresis, levels; and that order and batching of the same observations change nothing."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.lifecycle import Policy, Trace, episode_from_json, episode_to_json, fold
from alerts.rules.context import climb
from alerts.rules.definition import Ladder
from domain.alert import AlertState, Level
from tests.alerts.fakes import DEPTH, STAFF, T0, World

LADDER = Ladder({Level.BLUE: 10.0, Level.YELLOW: 12.0, Level.RED: 15.0}, deadband=0.5)
HOUR = timedelta(hours=1)


def trace(values, *, unsure=(), ladder=LADDER, start=0):
    value = np.array([np.nan if item is None else item for item in values], dtype=np.float64)
    n = len(value)
    blind = np.isnan(value)
    up = climb(ladder, value)
    doubted = np.isin(np.arange(start, start + n), list(unsure))
    time = np.datetime64(T0.replace(tzinfo=None), "us") + np.arange(start, start + n) * np.timedelta64(HOUR, "us")
    return Trace(
        time, np.where(doubted, 0, up).astype(np.int8), climb(ladder, value, -ladder.deadband), np.where(doubted, up, 0).astype(np.int8),
        blind, value, np.full(n, 0.1), np.full(n, "", dtype=object),
    )  # fmt: skip


def at(hour):
    return T0 + hour * HOUR


@pytest.mark.parametrize(
    ("values", "hold", "clear_hold", "expected"),
    [
        ([9, 9, 9], 0, 0, []),
        ([9, 10, 9], 0, 0, [(1, 2, Level.BLUE)]),
        ([9, 10, 9.6, 9.6, 9.4], 0, 0, [(1, 4, Level.BLUE)]),  # the deadband keeps it
        ([10, 13, 16, 11], 0, 0, [(0, None, Level.BLUE)]),  # level moves, one episode
        ([10, 10, 9], 2, 0, []),  # not long enough: never an alert
        ([10, 10, 10, 9], 2, 0, [(0, 3, Level.BLUE)]),
        ([10, 16, 10, 10, 10], 2, 0, [(0, None, Level.BLUE)]),  # a spike of red is held too
        ([10, None, None, 9], 0, 0, [(0, 3, Level.BLUE)]),  # cannot tell moves nothing
        ([10, None, None, None], 0, 0, [(0, None, Level.BLUE)]),
        ([10, 9, 10, 9, 9, 9], 0, 2, [(0, 3, Level.BLUE)]),  # two hours of ok end it, at their beginning
        ([10, 9, 9, 9, 10], 0, 1, [(0, 1, Level.BLUE), (4, None, Level.BLUE)]),
    ],
)
def test_episodes_of_a_table(values, hold, clear_hold, expected):
    found = fold(trace(values), Policy(hold * HOUR, clear_hold * HOUR)).episodes
    assert [(item.onset, item.ended, item.level) for item in found] == [
        (at(onset), None if ended is None else at(ended), level) for onset, ended, level in expected
    ]


def test_the_worst_so_far_is_kept_while_the_level_moves():
    episode = fold(trace([10, 16, 13, 11]), Policy()).open
    assert (episode.level, episode.peak) == (Level.BLUE, Level.RED)
    assert [(step.kind, step.level) for step in episode.steps] == [
        ("armed", Level.BLUE), ("fired", Level.BLUE), ("raised", Level.RED), ("lowered", Level.YELLOW), ("lowered", Level.BLUE),
    ]  # fmt: skip


def test_an_unsure_breach_is_held_but_not_sure():
    episode = fold(trace([13, 13], unsure={0, 1}), Policy()).open
    assert (episode.level, episode.held) == (Level.NONE, Level.YELLOW)
    assert fold(trace([13, 13], unsure={0}), Policy()).open.level is Level.YELLOW


def test_an_episode_survives_json():
    episode = fold(trace([10, 16, 13]), Policy()).open
    assert episode_from_json(json.loads(json.dumps(episode_to_json(episode)))) == episode


VALUES = st.lists(st.one_of(st.none(), st.sampled_from([8.0, 9.4, 9.6, 10.0, 11.7, 12.0, 14.7, 15.0, 20.0])), max_size=40)
HOURS = st.integers(0, 5)


@settings(deadline=None)
@given(values=VALUES, cuts=st.sets(st.integers(0, 40)), unsure=st.sets(st.integers(0, 40)), hold=HOURS, clear_hold=HOURS)
def test_folding_in_pieces_equals_folding_at_once(values, cuts, unsure, hold, clear_hold):
    policy = Policy(hold * HOUR, clear_hold * HOUR)
    whole = fold(trace(values, unsure=unsure), policy)
    closed, memory, last = [], None, None
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(values)), len(values)]
    for first, end in itertools.pairwise(edges):
        last = fold(trace(values[first:end], unsure=unsure, start=first), policy, memory)
        memory = json.loads(json.dumps(last.memory))
        closed += last.closed
    assert tuple(closed) == whole.closed
    assert last.open == whole.open


@settings(deadline=None)
@given(values=VALUES, hold=HOURS)
def test_an_episode_fires_only_when_its_breach_was_held(values, hold):
    for episode in fold(trace(values), Policy(hold * HOUR)).episodes:
        fired = [step.at for step in episode.steps if step.kind == "fired"]
        assert all(moment - episode.onset >= hold * HOUR for moment in fired)
        assert episode.ended is None or episode.ended > episode.onset


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_order_and_batching_of_the_same_observations_end_in_the_same_place(data):
    values = data.draw(st.lists(st.sampled_from([8.0, 9.6, 10.0, 12.0, 14.0]), min_size=1, max_size=12))
    hold, clear_hold = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    order = data.draw(st.permutations(range(len(values))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(values)))) | {len(values)})
    rule = {**DEPTH, "hold": hold * 3600, "clear_hold": clear_hold * 3600}
    arriving, at_once = World(rule), World(rule)
    arriving.store.save_receiver(STAFF)
    now = at(100)
    first = 0
    for cut in cuts:
        arriving.feed("W7:depth_to_water", [(order[index] / 24, values[order[index]]) for index in range(first, cut)], now=now)
        now, first = now + HOUR, cut
    at_once.feed("W7:depth_to_water", [(index / 24, value) for index, value in enumerate(values)], now=at(100))

    def standing(world):
        return [
            (item.state, item.level, item.peak_level, item.onset)
            for item in world.alerts
            if item.state is not AlertState.RESOLVED
        ]

    assert standing(arriving) == standing(at_once)
    state = next(iter(arriving.store.tables.states.values()))
    other = next(iter(at_once.store.tables.states.values()))
    assert state.memory["fold"] == other.memory["fold"]
    for alert in arriving.alerts:  # never two Alert messages, nor two alerts, for one episode
        kinds = [message.message_type for message in arriving.store.cap_messages(alert.alert_id)]
        assert kinds.count("Alert") <= 1
    live = [alert for alert in arriving.alerts if not alert.memory.get("history")]
    spans = [(alert.onset, alert.ended) for alert in live if not alert.memory.get("cancelled")]
    assert len({onset for onset, _ in spans}) == len(spans)
