"""Who opens a firing alert sees the newest value and the worst so far, though the record changed only when the episode did."""

from __future__ import annotations

from datetime import timedelta

from alerts.replay import Replay
from alerts.standing import Standing, standing
from domain.alert import AlertState
from tests.alerts.fakes import DEPTH, RATE, SILENT, T0, World

CODE = "W7:depth_to_water"


def looked_at(world: World, number: int = -1) -> Standing:
    alert = sorted(world.alerts, key=lambda item: item.onset)[number]
    rule, station = world.store.rule(alert.rule_code, alert.rule_version), world.registers.station(alert.station or "")
    assert rule is not None and station is not None
    datastream = world.registers.datastream(alert.datastream) if alert.datastream else None
    state = next((item for item in world.store.rule_states() if item.key == alert.key), None)
    return standing(
        Replay(world.observations, world.registers, None), alert, rule, station, datastream, state, T0 + timedelta(days=9)
    )


def test_the_newest_and_the_worst_value_follow_the_observations_within_one_level():
    world = World(DEPTH)
    world.feed(CODE, [(0, 5.0), (1, 12.5)])
    for day, depth in ((2, 13.5), (3, 14.9), (4, 12.9)):
        world.feed(CODE, [(day, depth)])
    (alert,) = world.alerts
    assert alert.evidence["value"] == 12.5, "the record is that of the moment when the level was reached"
    found = looked_at(world)
    assert (found.value, found.at, found.unit) == (12.9, T0 + timedelta(days=4), "m")
    assert (found.worst, found.worst_at) == (14.9, T0 + timedelta(days=3))


def test_a_correction_moves_the_worst_and_what_failed_counts_for_nothing():
    world = World(DEPTH)
    world.feed(CODE, [(1, 12.5), (2, 14.0), (3, 12.6)])
    world.feed(CODE, [(2, 12.7)])
    world.feed(CODE, [(4, 14.9)], quality=4)
    found = looked_at(world)
    assert (found.worst, found.value) == (12.7, 12.6)


def test_what_is_over_shows_its_own_time_alone():
    world = World(DEPTH)
    for day, depth in ((0, 14.9), (0.5, 5.0), (1, 12.5), (2, 13.0), (3, 5.0), (4, 14.0)):
        world.feed(CODE, [(day, depth)])
    world.feed(CODE, [(5, 4.0)])
    assert [item.state for item in world.alerts] == [AlertState.RESOLVED] * 3
    assert [(found.worst, found.value) for found in (looked_at(world, number) for number in (0, 1, 2))] == [
        (14.9, 5.0),
        (13.0, 5.0),
        (14.0, 4.0),
    ]


def test_of_subsidence_the_fastest_is_the_worst():
    world = World(RATE)
    world.feed("WY01:displacement_up_rate_12mo", [(0, -12.0), (1, -14.0), (2, -11.0)])
    found = looked_at(world)
    assert (found.worst, found.value, found.sigma) == (14.0, 11.0, 0.1)


def test_of_silence_its_length_says_it():
    world = World(SILENT)
    world.feed(CODE, [(0, 5.0)])
    world.engine.tick(T0 + timedelta(hours=4))
    found = looked_at(world)
    assert (found.value, found.worst) == (None, None)
