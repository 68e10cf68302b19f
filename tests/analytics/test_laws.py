"""What a change of units, zero, calendar or name does to an answer: that law, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics import METHODS, Samples
from analytics.changepoints import detect_change_points
from analytics.midas import midas
from analytics.velocity import VelocityParameters
from tests.analytics.simulation import gnss_like, years_since

NOW = datetime(2060, 1, 1, tzinfo=UTC)
YEAR_OF_DAYS = np.timedelta64(1461, "D")
"""Four years of 365.25 d: seasons keep their phase, days stay days."""


def _velocity(samples: Samples) -> dict[str, object]:
    return dict(METHODS["velocity"].run(samples, [], VelocityParameters(), NOW).run.result)


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 1.0e4), (1000.0, 0.0), (-2.5, 30.0)])
def test_scale_and_shift_of_a_series_scale_its_velocity(factor: float, shift: float) -> None:
    samples = gnss_like(11, 900)
    stepped = samples.value + 25.0 * (np.arange(900) >= 500)
    plain, moved = (_velocity(Samples(samples.time, values)) for values in (stepped, factor * stepped + shift))
    for name in ("rate", "midas_rate"):
        assert moved[name] == pytest.approx(factor * plain[name], rel=1e-4, abs=1e-6)  # type: ignore[operator]
    for name in ("rate_sigma", "midas_sigma", "annual_amplitude"):
        if name in plain:
            assert moved[name] == pytest.approx(abs(factor) * plain[name], rel=2e-3)  # type: ignore[operator]
    told = [[(step["time"], step["source"]) for step in found["steps"]] for found in (plain, moved)]  # type: ignore[attr-defined]
    assert told[0] == told[1]
    assert moved["noise_model"] == plain["noise_model"]


def test_a_series_of_another_time_has_the_same_velocity() -> None:
    samples = gnss_like(12, 900)
    plain, later = _velocity(samples), _velocity(Samples(samples.time + 3 * YEAR_OF_DAYS, samples.value))
    assert later["rate"] == pytest.approx(plain["rate"], rel=1e-5)
    assert later["rate_sigma"] == pytest.approx(plain["rate_sigma"], rel=1e-3)
    assert later["midas_n_pairs"] == pytest.approx(
        plain["midas_n_pairs"], abs=30
    )  # published epochs are rounded to four decimals


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.floats(-50.0, 50.0), st.floats(0.01, 100.0), st.floats(-1e4, 1e4))
def test_midas_follows_an_added_rate_a_scale_and_a_shift(seed: int, rate: float, factor: float, shift: float) -> None:
    years = years_since(900)
    values = np.random.default_rng(seed).normal(size=900)
    plain, moved = midas(years, values), midas(years, factor * values + rate * years + shift)
    assert plain is not None
    assert moved is not None
    assert moved.rate == pytest.approx(factor * plain.rate + rate, abs=1e-6 * (1.0 + factor + abs(rate)) + 1e-9 * abs(shift))
    assert moved.n_pairs == plain.n_pairs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 1000.0), st.floats(-1e3, 1e3), st.integers(30, 170))
def test_change_points_do_not_feel_units(seed: int, factor: float, shift: float, cut: int) -> None:
    values = np.random.default_rng(seed).normal(size=200)
    values[cut:] += 6.0
    plain = [point.index for point in detect_change_points(values)]
    assert [point.index for point in detect_change_points(factor * (values + shift))] == plain
