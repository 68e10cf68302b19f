"""Forecasts of a level: curves recovered, a choice that knows only the past, tested intervals, refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from analytics import METHODS, Samples
from analytics.backtest import back_test, bootstrap_difference, choose, half_widths, known_by, try_models
from analytics.forecast_models import careful_drift, combined, exponential, hyperbolic, is_settling, logistic, persistence
from analytics.level_forecast import ForecastParameters
from analytics.method import aware
from analytics.sampling import Floats
from benchmarks.bench_forecasts import extensometers
from tests.analytics.simulation import gnss_like

FORECAST = METHODS["forecast"]


def _monthly(years: float) -> Floats:
    return np.arange(0.0, years, 1.0 / 12.0)


def test_curves_that_settle_are_recovered() -> None:
    t, ahead = _monthly(12.0), np.array([1.0, 4.0])
    hyperbola = -300.0 * t / (t + 6.0)
    np.testing.assert_allclose(hyperbolic(t, hyperbola, ahead), -300.0 * (t[-1] + ahead) / (t[-1] + ahead + 6.0), rtol=0.01)
    settled = 200.0 * (1.0 - np.exp(-t / 5.0))
    np.testing.assert_allclose(exponential(t, settled, ahead), 200.0 * (1.0 - np.exp(-(t[-1] + ahead) / 5.0)), rtol=0.01)


def test_a_straight_line_does_not_settle_and_a_short_one_says_nothing() -> None:
    t = _monthly(12.0)
    assert not is_settling(t, -3.0 * t)
    assert hyperbolic(t, -3.0 * t, np.array([1.0])) is None
    assert logistic(t[:10], t[:10], np.array([1.0])) is None
    assert careful_drift(t[:2], t[:2], np.array([1.0])) is None


def test_a_drift_on_which_the_windows_disagree_is_none() -> None:
    t = _monthly(12.0)
    turned = np.where(t < 9.0, t, 18.0 - t)
    np.testing.assert_allclose(careful_drift(t, turned, np.array([2.0])), turned[-1])
    np.testing.assert_allclose(careful_drift(t, 4.0 * t, np.array([2.0])), 4.0 * t[-1] + 4.0, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_long_subsidence_under_production_is_forecast_25_years_ahead(seed: int) -> None:
    """Logistic truth of 15 m with wandering production: the error 25 years ahead is below 1.0 m."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, 60.0, 1.0)
    truth = 15.0 / (1.0 + np.exp(-(t - rng.uniform(18.0, 24.0)) / rng.uniform(5.0, 7.0)))
    seen = truth + np.cumsum(rng.normal(0.0, 0.01, t.size)) + rng.normal(0.0, 0.01, t.size)
    said = logistic(t[:35], seen[:35], np.array([25.0]))
    assert said is not None
    assert abs(float(said[0]) - seen[59]) < 1.0


def test_the_choice_at_an_origin_does_not_know_what_came_after() -> None:
    t = _monthly(30.0)
    values = np.where(t < 18.0, 10.0 * t, 180.0)
    horizons = np.array([1.0, 2.0])
    whole = try_models(t, values, horizons)
    moment = float(whole.origins[whole.origins <= 18.0][-1])
    changed = try_models(t, np.where(t <= moment, values, -500.0), horizons)
    seen = known_by(whole, moment)
    np.testing.assert_array_equal(whole.errors[:, seen], changed.errors[:, seen])
    assert choose(whole, moment) == choose(changed, moment) == "trend"
    np.testing.assert_array_equal(half_widths(whole, "trend", moment), half_widths(changed, "trend", moment))


def test_intervals_cover_what_they_promise_on_random_walks() -> None:
    inside: list[list[float]] = [[], []]
    for seed in range(40):
        t = _monthly(25.0)
        tested = back_test(try_models(t, np.cumsum(np.random.default_rng(seed).normal(size=t.size)), np.array([0.5, 1.0, 2.0])))
        for k in range(2):
            share, cases = tested.coverage(k)
            inside[k].append(share * cases)
            inside[k].append(-cases)
    shares = [sum(v for v in values if v > 0.0) / -sum(v for v in values if v < 0.0) for values in inside]
    assert 0.72 < shares[0] < 0.90
    assert 0.89 < shares[1] < 0.99


def test_the_bootstrap_of_equal_forecasts_holds_zero() -> None:
    errors = np.random.default_rng(3).normal(size=60)
    difference, low, high = bootstrap_difference(errors, -errors, np.repeat([0, 1, 2], 20), np.random.default_rng(1))
    assert (difference, low, high) == pytest.approx((0.0, 0.0, 0.0))


def test_a_forecast_beyond_a_third_of_the_record_is_refused() -> None:
    samples = gnss_like(2, 2000)
    now = aware(samples.time[-1]) + timedelta(days=1)
    refused = FORECAST.run(samples, [], ForecastParameters(horizon_a=2.5), now).run
    assert (refused.status, refused.result["reason"]) == ("cannot_tell", "beyond_horizon")
    told = FORECAST.run(samples, [], ForecastParameters(), now).run
    assert told.status == "ok"
    assert told.result["horizon_a"] <= 2000 / 365.25 / 3.0
    late = FORECAST.run(samples, [], ForecastParameters(), now + timedelta(days=400)).run
    assert late.result["reason"] == "stale"


@pytest.mark.parametrize("n", [0, 1, 3, 200])
def test_little_data_gives_no_forecast(n: int) -> None:
    run = FORECAST.run(
        gnss_like(1, max(n, 1)).where(np.arange(max(n, 1)) < n), [], ForecastParameters(), datetime(2016, 9, 1, tzinfo=UTC)
    ).run
    assert run.status == "cannot_tell"
    assert "value" not in run.result


def test_shift_and_scale_move_the_forecast_and_nothing_else() -> None:
    samples = gnss_like(4, 1800)
    now = aware(samples.time[-1]) + timedelta(days=1)
    quiet = replace(ForecastParameters().velocity, find_steps=False)
    plain = FORECAST.run(samples, [], ForecastParameters(quiet), now).run.result
    moved = FORECAST.run(Samples(samples.time, 3.0 * samples.value + 50.0), [], ForecastParameters(quiet), now).run.result
    np.testing.assert_allclose(moved["value"], 3.0 * np.array(plain["value"]) + 50.0, rtol=1e-6)
    np.testing.assert_allclose(moved["lower_95"], 3.0 * np.array(plain["lower_95"]) + 50.0, rtol=1e-6)
    assert moved["model"] == plain["model"]


def test_compaction_36_months_ahead_is_below_persistence_with_intervals_that_cover(shared_data: Path) -> None:
    own, last, inside = [], [], []
    for years, values in extensometers(shared_data / "extensometer/usgs_houston").values():
        tested = back_test(try_models(years, values, np.array([1.0, 2.0, 3.0])))
        known = np.isfinite(tested.errors[:, 2])
        own.append(tested.errors[known, 2])
        last.append(tested.reference[known, 2])
        inside.append(tested.inside[1][np.isfinite(tested.inside[1])])
    e, p = np.concatenate(own), np.concatenate(last)
    groups = np.repeat(np.arange(len(own)), [part.size for part in own])
    difference, low, high = bootstrap_difference(e, p, groups, np.random.default_rng(1))
    assert difference < 0.0
    assert low < difference < high < 0.0
    assert 0.88 <= float(np.concatenate(inside).mean()) <= 0.99


def test_the_last_three_windows_of_36_months_are_below_persistence(shared_data: Path) -> None:
    """Three origins an extensometer, 36 months apart, the error over all months of the window."""
    ahead = np.arange(1, 37) / 12.0
    own, last = [], []
    for years, values in extensometers(shared_data / "extensometer/usgs_houston").values():
        for months in (108, 72, 36):
            row = int(np.searchsorted(years, years[-1] - months / 12.0 + 0.01)) - 1
            truth = np.interp(years[row] + ahead, years, values)
            for found, model in ((own, combined), (last, persistence)):
                said = model(years[: row + 1], values[: row + 1], ahead)
                assert said is not None
                found.append(float(np.sqrt(np.mean((said - truth) ** 2))))
    assert len(own) == 21
    assert np.sqrt(np.mean(np.square(own))) < 0.97 * np.sqrt(np.mean(np.square(last)))
    assert np.mean(own) < 0.97 * np.mean(last)


def test_the_combined_forecast_follows_the_season_and_doubts_a_speed_never_seen_before() -> None:
    t, ahead = _monthly(20.0), np.array([0.5, 1.0])
    season = 3.0 * np.cos(2.0 * np.pi * t)
    said = combined(t, season, ahead)
    assert said is not None
    half_a_year, year = said - season[-1]
    expected = 3.0 * (np.cos(2.0 * np.pi * (t[-1] + 0.5)) - np.cos(2.0 * np.pi * t[-1]))
    assert half_a_year == pytest.approx(0.5 * expected, rel=0.1)
    assert year == pytest.approx(0.0, abs=0.1)
    sudden = 0.1 * t + np.where(t > 17.0, 5.0 * (t - 17.0), 0.0)
    steady = 5.1 * t
    told = [combined(t, values, np.array([3.0])) for values in (sudden, steady)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0][0] - sudden[-1] < 0.2 * (told[1][0] - steady[-1])


def test_the_combined_forecast_scales_and_shifts_with_the_series() -> None:
    t, ahead = _monthly(15.0), np.array([0.5, 2.0])
    values = np.cumsum(np.random.default_rng(4).normal(-0.1, 0.3, t.size)) + np.sin(2.0 * np.pi * t)
    once, moved = combined(t, values, ahead), combined(t, -4.0 * values + 100.0, ahead)
    assert once is not None
    assert moved is not None
    np.testing.assert_allclose(moved, -4.0 * once + 100.0, rtol=1e-9)


def test_persistence_of_nothing_is_nothing() -> None:
    assert persistence(np.empty(0), np.empty(0), np.array([1.0])) is None
