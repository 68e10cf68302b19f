"""Long scenarios: truth inside the interval on a generator that is none of the families, refusals, and the laws of units."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from analytics import Samples
from analytics.long_scenario import ASSUMPTION, FAMILIES, describe_scenario, long_scenario
from analytics.preparation import VelocityParameters
from analytics.sampling import Floats
from benchmarks.bench_forecasts import subsidence_under_production

KNOWN, AHEAD = 41, 25


def test_25_years_ahead_the_error_is_below_a_metre_and_the_truth_inside_the_interval() -> None:
    errors, inside = [], []
    for seed in range(60):
        years, seen = subsidence_under_production(np.random.default_rng(seed), KNOWN + AHEAD)
        said = long_scenario(years[:KNOWN], seen[:KNOWN], np.array([float(AHEAD)]))
        assert said is not None
        assert said.assumption == ASSUMPTION
        errors.append(said.value[0] - seen[-1])
        inside.append(said.lower[0] <= seen[-1] <= said.upper[0])
    assert np.sqrt(np.mean(np.square(errors))) < 1.0
    assert np.mean(inside) >= 0.88


def test_the_families_share_the_mixture_and_the_interval_grows() -> None:
    years, seen = subsidence_under_production(np.random.default_rng(7), KNOWN)
    said = long_scenario(years, seen, np.array([1.0, 5.0, 25.0]))
    assert said is not None
    assert set(said.weights) == set(FAMILIES)
    assert sum(said.weights.values()) == pytest.approx(1.0)
    width = said.upper - said.lower
    assert (np.diff(width) > 0.0).all()
    assert (said.lower < said.value).all()
    assert (said.value < said.upper).all()


def test_units_and_the_zero_change_the_scenario_by_their_law_only() -> None:
    years, seen = subsidence_under_production(np.random.default_rng(3), KNOWN)
    ahead = np.array([10.0, 25.0])
    once, moved = long_scenario(years, seen, ahead), long_scenario(years + 100.0, -1000.0 * seen + 5.0, ahead)
    assert once is not None
    assert moved is not None
    np.testing.assert_allclose(moved.value, -1000.0 * once.value + 5.0, rtol=1e-6)
    np.testing.assert_allclose(moved.lower, -1000.0 * once.upper + 5.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("years", "values"),
    [
        (np.arange(8.0), -np.arange(8.0)),
        (np.linspace(0.0, 9.0, 50), -np.arange(50.0)),
        (np.arange(20.0), -np.arange(20.0)),
        (np.arange(40.0), np.zeros(40)),
        (np.empty(0), np.empty(0)),
    ],
)
def test_short_records_longer_horizons_and_no_change_have_no_scenario(years: Floats, values: Floats) -> None:
    assert long_scenario(years, values, np.array([25.0])) is None


def _monthly(years: float) -> Samples:
    time = np.datetime64("1990-01-15", "us") + (np.arange(round(12 * years)) * 30.4375 * 86400e6).astype("timedelta64[us]")
    t = np.arange(time.size) / 12.0
    return Samples(time, -4.0 / (1.0 + np.exp(-(t - 12.0) / 4.0)) + np.random.default_rng(2).normal(0.0, 0.01, t.size))


def test_a_datastream_is_described_in_its_own_unit_or_told_why_not() -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    setting = VelocityParameters(unit="mm", scale=1000.0)
    samples = _monthly(25.0)
    said = describe_scenario(samples, [], setting, 20.0, 0.95, now)
    assert said["status"] == "ok"
    assert said["lower"][-1] < -4.0 < said["upper"][-1]
    assert said["value"][-1] == pytest.approx(-4.0, abs=0.3)
    assert said["time"][-1].startswith("2034") or said["time"][-1].startswith("2035")
    assert describe_scenario(samples, [], setting, 30.0, 0.95, now)["reason"] == "beyond_record"
    assert describe_scenario(_monthly(8.0), [], setting, 5.0, 0.95, now)["reason"] == "too_short"
    early = datetime(1996, 1, 1, tzinfo=UTC)
    assert describe_scenario(samples, [], setting, 5.0, 0.95, early)["reason"] == "too_short"
