"""What verdicts suggest: changes that spare false alarms and keep every real one, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.alarm_quality import load_targets
from alerts.policy import default_policy
from alerts.proposals import Judged, candidates, propose
from alerts.replay import Replay
from alerts.rules import parse_rule
from alerts.would_fire import Bench
from domain.case import CaseVerdict
from tests.alerts.fakes import DEPTH, STAFF, T0, World

CODE = "W7:depth_to_water"
NOW = T0 + timedelta(days=60)


@pytest.fixture
def world() -> World:
    """Short spikes of an hour that were the logger's, and one true breach of three days."""
    world = World(DEPTH)
    rows = []
    hour = 1.0 / 24.0
    for day in range(40):
        for step in range(24):
            depth = 5.0
            if day in (5, 9, 14) and step == 12:
                depth = 30.0
            if 25 <= day < 28:
                depth = 31.0
            rows.append((day + step * hour, depth))
    world.feed(CODE, rows, now=NOW)
    return world


def bench(world: World) -> Bench:
    replay = Replay(world.observations, world.registers, None)
    return Bench(
        world.observations, world.registers, replay, [STAFF], load_targets(), UTC, world.store.current_seq(), default_policy()
    )


def judged(day: float, verdict: CaseVerdict, days: float = 0.1) -> Judged:
    onset = T0 + timedelta(days=day)
    return Judged(CODE, onset, onset + timedelta(days=days), verdict)


def span(world: World) -> tuple[datetime, datetime]:
    return T0 - timedelta(days=1), NOW


def test_a_longer_hold_spares_the_spikes_and_keeps_the_breach(world: World) -> None:
    past = [judged(day + 0.5, CaseVerdict.INSTRUMENT) for day in (5, 9, 14)] + [judged(25, CaseVerdict.REAL, 3)]
    found = propose(parse_rule(DEPTH), past, bench(world), *span(world), NOW)
    assert found and found[0].reason.startswith("hold")
    assert (found[0].false_spared, found[0].false_total, found[0].real_kept) == (3, 3, 1)
    assert found[0].alerts_after < found[0].alerts_before
    assert not any(item.reason == "hold P3D" for item in found), "three days of hold lose the breach of three days"


def test_a_change_that_would_lose_a_real_one_is_never_told(world: World) -> None:
    past = [judged(5.5, CaseVerdict.INSTRUMENT), judged(9.5, CaseVerdict.REAL), judged(14.5, CaseVerdict.NATURAL)]
    assert propose(parse_rule(DEPTH), past, bench(world), *span(world), NOW) == ()


@pytest.mark.parametrize(
    "past",
    [
        [],
        [judged(5.5, CaseVerdict.INSTRUMENT), judged(9.5, CaseVerdict.INSTRUMENT)],
        [judged(day + 0.5, CaseVerdict.REAL) for day in (5, 9, 14)],
    ],
)
def test_little_or_nothing_false_suggests_nothing(world: World, past: list[Judged]) -> None:
    assert propose(parse_rule(DEPTH), past, bench(world), *span(world), NOW) == ()


def test_limits_move_outward_whatever_their_direction() -> None:
    tried = dict(candidates(parse_rule(DEPTH)))
    assert all(
        moved > limit
        for words, change in tried.items()
        if words.startswith("levels")
        for moved, limit in zip(change["levels"].values(), DEPTH["levels"].values(), strict=True)
    )
    below = parse_rule({**DEPTH, "code": "low", "direction": "below", "levels": {"blue": -5.0, "yellow": -8.0}})
    lower = [change["levels"]["blue"] for words, change in candidates(below) if words.startswith("levels")]
    assert lower and all(value < -5.0 for value in lower)
