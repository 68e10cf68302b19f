"""Variograms by likelihood: sigmas of a kriged surface that hold on smooth and on rough ground."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.kriging import Variogram, fit_variogram, krige
from analytics.sampling import Floats
from analytics.variogram import fit_by_likelihood, left_out

MARKS, TARGETS = 120, 800


def _smooth(at: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(30.0 * np.exp(-(at**2).sum(axis=1) / 2.0 / 2000.0**2))


def _two_funnels(at: Floats, rng: np.random.Generator) -> Floats:
    return _smooth(at, rng) + 12.0 * np.exp(-((at - 3000.0) ** 2).sum(axis=1) / 2.0 / 900.0**2)


def _cone(at: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(np.maximum(30.0 - np.hypot(at[:, 0], at[:, 1]) / 150.0, 0.0))


def _rough(at: Floats, rng: np.random.Generator) -> Floats:
    gap = np.sqrt(((at[:, None] - at[None]) ** 2).sum(axis=-1))
    matrix = Variogram(0.0, 36.0, 4000.0).covariance(gap) + 1e-8 * np.eye(len(at))
    return np.asarray(np.linalg.cholesky(matrix) @ rng.normal(size=len(at)))


@pytest.mark.parametrize("ground", [_smooth, _two_funnels, _cone, _rough])
def test_the_sigmas_hold_on_smooth_and_rough_ground(ground: object) -> None:
    assert callable(ground)
    inside, spread = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        marks, targets = rng.uniform(-5000.0, 5000.0, (MARKS, 2)), rng.uniform(-4500.0, 4500.0, (TARGETS, 2))
        truth = ground(np.vstack((marks, targets)), rng)
        seen, sigma = truth[:MARKS] + rng.normal(0.0, 1.0, MARKS), np.ones(MARKS)
        variogram = fit_by_likelihood(marks, seen, sigma)
        found = krige(marks, seen, targets, variogram, sigma)
        inside.append(np.abs(found.value - truth[MARKS:])[:, None] <= np.array([1.2816, 1.9600]) * found.sigma[:, None])
        spread.append(left_out(marks, seen, variogram, sigma) ** 2)
    narrow, wide = np.concatenate(inside).mean(axis=0)
    assert 0.72 <= narrow <= 0.92
    assert 0.89 <= wide <= 0.985
    assert 0.8 <= np.concatenate(spread).mean() <= 1.25


def test_a_smooth_funnel_is_known_better_than_by_the_rough_variogram_of_moments() -> None:
    rng = np.random.default_rng(11)
    marks, targets = rng.uniform(-5000.0, 5000.0, (MARKS, 2)), rng.uniform(-4500.0, 4500.0, (TARGETS, 2))
    seen, sigma = _smooth(marks, rng) + rng.normal(0.0, 1.0, MARKS), np.ones(MARKS)
    errors, sigmas = [], []
    for variogram in (fit_by_likelihood(marks, seen, sigma), fit_variogram(marks, seen, sigma)):
        found = krige(marks, seen, targets, variogram, sigma)
        errors.append(np.sqrt(np.mean((found.value - _smooth(targets, rng)) ** 2)))
        sigmas.append(np.median(found.sigma))
    assert errors[0] < 0.9 * errors[1]
    assert sigmas[0] < 0.4 * sigmas[1]


def test_leaving_one_out_is_what_kriging_without_it_says() -> None:
    rng = np.random.default_rng(3)
    marks, seen, sigma = rng.uniform(0.0, 4000.0, (15, 2)), rng.normal(0.0, 5.0, 15), rng.uniform(0.5, 1.5, 15)
    variogram = Variogram(0.7, 20.0, 2500.0, 1.5)
    told = left_out(marks, seen, variogram, sigma)
    for i in (0, 7, 14):
        others = np.arange(15) != i
        found = krige(marks[others], seen[others], marks[i : i + 1], variogram, sigma[others])
        expected = (seen[i] - found.value[0]) / np.sqrt(found.sigma[0] ** 2 + variogram.nugget + sigma[i] ** 2)
        assert told[i] == pytest.approx(expected, rel=1e-5)


def test_units_and_places_change_the_variogram_by_their_law_only() -> None:
    rng = np.random.default_rng(5)
    marks = rng.uniform(-5000.0, 5000.0, (60, 2))
    seen = _smooth(marks, rng) + rng.normal(0.0, 1.0, 60)
    once = fit_by_likelihood(marks, seen, np.ones(60))
    moved = fit_by_likelihood(2.0 * marks + 1e4, 10.0 * seen - 50.0, np.full(60, 10.0))
    assert moved.smoothness == once.smoothness
    assert moved.range_m == pytest.approx(2.0 * once.range_m, rel=0.02)
    assert moved.sill == pytest.approx(100.0 * once.sill, rel=0.02)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_few_data_have_the_variogram_of_moments(n: int) -> None:
    rng = np.random.default_rng(n)
    marks, seen = rng.uniform(0.0, 1000.0, (n, 2)), rng.normal(size=n)
    assert fit_by_likelihood(marks, seen) == fit_variogram(marks, seen)


def test_marks_at_one_place_and_errors_that_nobody_knows_give_a_surface_all_the_same() -> None:
    rng = np.random.default_rng(8)
    marks = rng.uniform(0.0, 5000.0, (40, 2))
    marks[1] = marks[0]
    seen = _smooth(marks, rng) + rng.normal(0.0, 0.5, 40)
    unknown = np.full(40, np.nan)
    assert np.isfinite(fit_variogram(marks, seen, unknown).nugget)
    found = krige(marks, seen, rng.uniform(0.0, 5000.0, (50, 2)), fit_by_likelihood(marks, seen, unknown), unknown)
    assert np.isfinite(found.value).all()
    assert np.isfinite(found.sigma).all()
