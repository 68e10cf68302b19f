"""Scenario 5: the trend's sigma knows that noise wanders, and a young record says that it is interim."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.method import aware
from analytics.trajectory import choose_model, fit_trajectory
from domain.quality import Quality
from tests.analytics.simulation import coloured_noise, days, years_since


def flicker_series(seed: int, n: int) -> Samples:
    """Daily vertical positions as in the field: 3 mm white, 12 mm/a^(1/4) flicker, -5 mm/a."""
    return Samples(days(n), -5.0 * years_since(n) + coloured_noise(np.random.default_rng(seed), n, 3.0, 12.0))


@pytest.mark.parametrize("years", [3, 5, 10])
def test_the_sigma_is_at_least_five_times_that_of_white_noise(years: int) -> None:
    n = round(365.25 * years)
    samples, t = flicker_series(years, n), years_since(n)
    model = choose_model(t)
    white = fit_trajectory(t, samples.value, model, candidates=("white",))
    honest = fit_trajectory(t, samples.value, model)
    assert honest.noise.name != "white"
    assert honest.sigma_of("rate") >= 5.0 * white.sigma_of("rate")
    assert abs(honest.value_of("rate") + 5.0) < 3.0 * honest.sigma_of("rate")


def test_a_record_below_two_and_a_half_years_is_interim_and_its_rates_are_not_good() -> None:
    samples = flicker_series(1, 800)
    now = aware(samples.time[-1]) + timedelta(days=1)
    velocity, recent = analyse_datastream(samples, [], AnalysisSettings("mm"), now)[:2]
    assert velocity.run.status == recent.run.status == "interim"
    assert velocity.run.result["interim"] is True
    rates = [s for o in (velocity, recent) for s in o.scalars if s.name in {"velocity", "midas_velocity", "rate_12mo"}]
    assert len(rates) == 3
    assert all(scalar.quality is Quality.UNKNOWN and "interim" in scalar.reasons for scalar in rates)


def test_a_longer_record_is_not_interim() -> None:
    samples = flicker_series(2, 1100)
    now = aware(samples.time[-1]) + timedelta(days=1)
    velocity = analyse_datastream(samples, [], AnalysisSettings("mm"), now)[0]
    assert velocity.run.status == "ok"
    assert velocity.scalars[0].quality is Quality.GOOD
