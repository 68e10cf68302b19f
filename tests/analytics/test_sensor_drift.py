"""A sensor against its neighbours: it drifts, it is steady, or nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.sensor_drift import DriftDoubt, DriftState, drift_of

DAYS = np.arange(90.0)


def common(seed: int) -> np.ndarray:
    """The water that all wells have in common: a random walk of decimetres."""
    return np.cumsum(np.random.default_rng(seed).normal(0.0, 0.05, DAYS.size))


def others(seed: int, count: int = 4) -> np.ndarray:
    noise = np.random.default_rng(seed + 1).normal(0.0, 0.01, (DAYS.size, count))
    return common(seed)[:, None] * np.linspace(0.8, 1.2, count) * 0.1 + np.linspace(-3.0, 9.0, count) + noise


@pytest.mark.parametrize("rate", [0.3, -0.3])
def test_a_sensor_that_walks_away_is_told_with_its_rate(rate: float) -> None:
    own = common(7) * 0.1 + rate / 30.0 * DAYS + np.random.default_rng(3).normal(0.0, 0.01, DAYS.size)
    found = drift_of(DAYS, own, others(7), 0.1)
    assert found.state is DriftState.DRIFTING
    assert found.rate_per_30d == pytest.approx(rate, abs=0.05)
    assert found.neighbours == 4


def test_what_all_share_is_no_drift() -> None:
    falling = -0.02 * DAYS
    found = drift_of(DAYS, falling, others(7) + falling[:, None], 0.1)
    assert found.state is DriftState.STEADY


def test_too_few_neighbours_too_few_days_and_noise_cannot_be_told() -> None:
    own = 0.01 * DAYS
    alone = drift_of(DAYS, own, others(7, 1), 0.1)
    assert (alone.state, alone.rate_per_30d) == (DriftState.CANNOT_TELL, None)
    young = np.where(DAYS < 70, np.nan, own)
    assert drift_of(DAYS, young, others(7), 0.1).state is DriftState.CANNOT_TELL
    restless = np.random.default_rng(1).normal(0.0, 2.0, DAYS.size)
    assert drift_of(DAYS, restless, others(7), 0.1).state is DriftState.CANNOT_TELL
    assert drift_of(DAYS[:0], own[:0], others(7)[:0], 0.1).state is DriftState.CANNOT_TELL


def test_a_neighbour_that_falls_silent_is_no_drift_of_the_others() -> None:
    beside = others(7, 3)
    beside[45:, 0] = np.nan
    assert drift_of(DAYS, common(7) * 0.1, beside, 0.1).state is DriftState.STEADY


@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_shifting_and_scaling_change_the_answer_by_that_law_only(shift: float, scale: float) -> None:
    own = common(5) * 0.1 + 0.01 * DAYS
    plain = drift_of(DAYS, own, others(5), 0.1)
    moved = drift_of(DAYS, scale * own + shift, scale * others(5), 0.1 * scale)
    assert moved.state is plain.state
    assert moved.rate_per_30d == pytest.approx(scale * plain.rate_per_30d, rel=1e-6)


def test_no_drift_is_told_of_sound_sensors() -> None:
    told = [drift_of(DAYS, common(seed) * 0.1, others(seed), 0.1).state for seed in range(100)]
    assert DriftState.DRIFTING not in told


def parted(rate: float = 0.3) -> np.ndarray:
    """A well that goes away from the others by so much in 30 days."""
    return common(7) * 0.1 + rate / 30.0 * DAYS + np.random.default_rng(3).normal(0.0, 0.01, DAYS.size)


@pytest.mark.parametrize(
    "pumped",
    [
        np.where(DAYS < 40, 100.0, 160.0),
        np.linspace(0.0, 50.0, DAYS.size),
        np.where(DAYS < 75, 0.0, 80.0),
        np.where(DAYS > 60, np.nan, 100.0),
        np.full(DAYS.size, np.nan),
    ],
    ids=["a step", "more and more", "it begins", "its meter falls silent", "never known"],
)
def test_where_pumping_changes_or_is_not_known_nobody_can_tell_drift_from_water(pumped: np.ndarray) -> None:
    steady = np.full(DAYS.size, 30.0)
    assert drift_of(DAYS, parted(), others(7), 0.1, pumping=steady[:, None]).state is DriftState.DRIFTING
    found = drift_of(DAYS, parted(), others(7), 0.1, pumping=np.column_stack([steady, pumped]))
    assert (found.state, found.doubt) == (DriftState.CANNOT_TELL, DriftDoubt.PUMPING)
    assert found.rate_per_30d == pytest.approx(0.3, abs=0.05)


def test_pumping_that_is_restless_but_the_same_excuses_nothing() -> None:
    weekly = 100.0 + 60.0 * (DAYS % 7 < 5) + np.random.default_rng(8).normal(0.0, 5.0, DAYS.size)
    for pumped in (weekly, np.zeros(DAYS.size)):
        assert drift_of(DAYS, parted(), others(7), 0.1, pumping=pumped[:, None]).state is DriftState.DRIFTING


def test_a_value_that_follows_its_level_is_not_called_a_drift_of_the_sensor() -> None:
    level = 5.0 + np.cumsum(np.random.default_rng(5).normal(0.05, 0.02, DAYS.size))
    follows = common(7) * 0.1 + 0.2 * level + np.random.default_rng(3).normal(0.0, 0.01, DAYS.size)
    assert drift_of(DAYS, follows, others(7), 0.1).state is DriftState.DRIFTING
    found = drift_of(DAYS, follows, others(7), 0.1, levels=level[:, None])
    assert (found.state, found.doubt) == (DriftState.CANNOT_TELL, DriftDoubt.FOLLOWS)
    for elsewhere in (np.full(DAYS.size, 5.0), np.full(DAYS.size, np.nan), 5.0 + np.sin(DAYS / 5.0)):
        assert drift_of(DAYS, parted(), others(7), 0.1, levels=elsewhere[:, None]).state is DriftState.DRIFTING


def test_what_nobody_can_tell_has_its_reason() -> None:
    restless = np.random.default_rng(1).normal(0.0, 2.0, DAYS.size)
    young = np.where(DAYS < 70, np.nan, parted())
    assert drift_of(DAYS, parted(), others(7, 1), 0.1).doubt is DriftDoubt.FEW_NEIGHBOURS
    assert drift_of(DAYS, young, others(7), 0.1).doubt is DriftDoubt.FEW_DAYS
    assert drift_of(DAYS, restless, others(7), 0.1).doubt is DriftDoubt.SCATTER
    assert drift_of(DAYS, parted(), others(7), 0.1).doubt is None


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_sensor_stays_steady_whatever_is_pumped(seed: int) -> None:
    pumped = np.where(DAYS < 40, 100.0, 160.0)[:, None]
    plain = drift_of(DAYS, common(seed) * 0.1, others(seed), 0.1)
    assert drift_of(DAYS, common(seed) * 0.1, others(seed), 0.1, pumping=pumped) == plain
