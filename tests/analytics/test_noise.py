"""Coloured noise against dense covariances, against the published listing, and its coverage."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, toeplitz

from analytics.gls import Grid, conditional_series, generalised_least_squares, lay_on_grid
from analytics.noise import NoiseModel, fractional_filter, whiten
from analytics.noise_doubt import widening
from analytics.noise_search import estimate_noise
from analytics.trajectory import TrajectoryModel, choose_model, fit_trajectory
from tests.analytics.simulation import coloured_noise, day_of_year, years_since


def _dense(grid: Grid, share: float, index: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The same estimate with the full covariance of the observed epochs: slow and beyond doubt."""
    lower = toeplitz(fractional_filter(index / 2.0, grid.n), np.zeros(grid.n))
    covariance = ((1.0 - share) * lower @ lower.T + share * np.eye(grid.n))[np.ix_(grid.occupied, grid.occupied)]
    factor = cho_factor(covariance, lower=True)
    gram = grid.design.T @ cho_solve(factor, grid.design)
    parameters = np.linalg.solve(gram, grid.design.T @ cho_solve(factor, grid.values))
    residual = grid.values - grid.design @ parameters
    freedom = grid.n_observed - grid.design.shape[1]
    variance = float(residual @ cho_solve(factor, residual)) / freedom
    sigmas = np.sqrt(np.diag(np.linalg.inv(gram)) * variance)
    log_det = 2.0 * np.log(np.diag(factor[0])).sum() + np.linalg.slogdet(gram)[1]
    return parameters, sigmas, -0.5 * (freedom * (np.log(2.0 * np.pi * variance) + 1.0) + log_det)


def _grid(seed: int, share: float, index: float, gaps: bool) -> Grid:
    rng, n = np.random.default_rng(seed), 900
    years = years_since(n)
    noise = np.sqrt(share) * rng.normal(size=n)
    noise += np.sqrt(1.0 - share) * np.convolve(fractional_filter(index / 2.0, n), rng.normal(size=n))[:n]
    keep = np.ones(n, dtype=bool)
    if gaps:
        keep[rng.random(n) < 0.1] = False
        keep[300:430] = False
        keep[[0, -1]] = True
    design = TrajectoryModel(float(years.mean())).design(years)
    return lay_on_grid(years[keep], design[keep], noise[keep], 1.0 / 365.25)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(("share", "index"), [(0.5, 1.0), (0.95, 1.0), (0.2, 1.6), (0.9, 2.0), (1e-4, 1.0)])
def test_filters_agree_with_the_dense_covariance(share: float, index: float, gaps: bool) -> None:
    grid = _grid(7, share, index, gaps)
    parameters, sigmas, likelihood = _dense(grid, share, index)
    fit = generalised_least_squares(grid, NoiseModel("powerlaw_white", 1.0, share, index))
    assert fit.sigmas[1] == pytest.approx(sigmas[1], rel=0.03)
    assert abs(fit.parameters[1] - parameters[1]) < 0.1 * sigmas[1]
    assert fit.noise.log_likelihood == pytest.approx(likelihood, abs=0.3)


@pytest.mark.parametrize("name", ["flicker_white", "powerlaw_sum", "ar1"])
def test_a_filter_and_its_inverse_undo_each_other(name: str) -> None:
    model = NoiseModel(name, 1.0, 0.7, 0.0 if name == "ar1" else 1.3, 0.8 if name == "ar1" else 0.0)
    response, inverse, log_first = model.filters(500)
    unit = np.convolve(response, inverse)[:500]
    assert unit[0] == pytest.approx(1.0, abs=1e-4)
    assert np.abs(unit[1:]).max() < 1e-4
    assert np.log(response[0]) == pytest.approx(log_first, abs=1e-4)


def test_the_expectation_in_a_gap_leaves_the_likelihood_of_the_rest() -> None:
    grid = _grid(3, 0.6, 1.0, gaps=True)
    model = NoiseModel("flicker_white", 1.0, 0.6, 1.0)
    fit = generalised_least_squares(grid, model)
    whitened = whiten(conditional_series(grid, model), model)
    gram = whitened[:, :-1].T @ whitened[:, :-1]
    parameters = np.linalg.solve(gram, whitened[:, :-1].T @ whitened[:, -1])
    np.testing.assert_allclose(parameters, fit.parameters, rtol=1e-3, atol=1e-4)


def test_a_published_rate_sigma_and_index_are_reproduced(shared_data: Path) -> None:
    folder = shared_data / "gnss/est_noise_canp"
    expected = json.loads((folder / "expected.json").read_text())
    rows = [line.split() for line in (folder / "canp.e").read_text().splitlines()]
    years = np.array([day_of_year(int(row[0]), float(row[1])) for row in rows])
    values = np.array([float(row[2]) for row in rows])
    first, second = day_of_year(2003, 357), day_of_year(2004, 272)
    model = TrajectoryModel(
        float(years.mean()),
        steps=(first - 1e-9, second - 1e-9),
        logarithms=((day_of_year(2003, 356), 1e-4), (second, 1e-4)),
    )
    began = time.process_time()
    fit = fit_trajectory(years, values, model)
    elapsed_s = time.process_time() - began  # other processes share the machine
    assert fit.value_of("rate") == pytest.approx(expected["rate_mm_yr"], abs=0.05)
    assert fit.sigma_of("rate") == pytest.approx(expected["rate_sigma"], rel=0.10)
    assert fit.noise.index == pytest.approx(expected["pl_index"], abs=0.1)
    assert fit.noise.white_sigma == pytest.approx(expected["white_mm"], rel=0.05)
    assert fit.noise.power_law_amplitude == pytest.approx(expected["pl_amp"], rel=0.1)
    assert fit.amplitude_of(1)[0] == pytest.approx(expected["annual_amp_mm"], abs=0.1)
    assert elapsed_s < 5.0


@pytest.mark.parametrize(
    ("white", "power_law", "index", "names"),
    [
        (3.0, 0.0, 1.0, {"white"}),
        (3.0, 12.0, 1.0, {"flicker_white", "powerlaw_white", "powerlaw_sum"}),
        (0.5, 20.0, 2.0, {"powerlaw_white", "powerlaw_sum"}),
    ],
)
def test_the_choice_by_bic_finds_the_kind_of_noise(white: float, power_law: float, index: float, names: set[str]) -> None:
    years = years_since(2000)
    noise = coloured_noise(np.random.default_rng(11), 2000, white, power_law, index)
    fit = fit_trajectory(years, noise, choose_model(years))
    assert fit.noise.name in names
    if power_law:
        assert fit.noise.index == pytest.approx(index, abs=0.35)


def test_ar1_is_found_with_its_coefficient() -> None:
    rng = np.random.default_rng(5)
    noise = np.zeros(2500)
    for i in range(1, 2500):
        noise[i] = 0.7 * noise[i - 1] + rng.normal()
    years = years_since(2500)
    fit = fit_trajectory(years, noise, choose_model(years))
    assert fit.noise.name == "ar1"
    assert fit.noise.ar_coefficient == pytest.approx(0.7, abs=0.05)


@pytest.mark.slow
def test_the_interval_of_the_rate_covers_the_truth_on_flicker_noise() -> None:
    """A hundred seeds with gaps and a known step; `make bench` takes 2,000. Four standard errors of the share, three of the bias."""
    n, years, errors, sigmas = 900, years_since(900), [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = coloured_noise(rng, n, 2.0, 8.0) - 6.0 * years + 10.0 * (years >= years[400])
        keep = rng.random(n) > 0.05
        keep[600:640] = False
        fit = fit_trajectory(years[keep], values[keep], choose_model(years[keep], [float(years[400])]))
        errors.append(fit.value_of("rate") + 6.0)
        sigmas.append(fit.sigma_of("rate"))
    error, sigma = np.array(errors), np.array(sigmas)
    assert float(np.mean(np.abs(error) < 1.96 * sigma)) >= 0.87
    assert 0.7 < float(np.mean((error / sigma) ** 2)) < 1.5
    assert abs(float(error.mean() / error.std())) < 0.3


def test_little_knowledge_of_the_noise_widens_the_interval() -> None:
    years = years_since(2000)
    values = coloured_noise(np.random.default_rng(4), 2000)
    long, short = (fit_trajectory(years[:n], values[:n], choose_model(years[:n]), ("flicker_white",)) for n in (2000, 500))
    white = fit_trajectory(years, values, choose_model(years), ("white",))
    assert 4.0 <= short.freedom < long.freedom < white.freedom
    known = fit_trajectory(years, values, choose_model(years), noise=long.noise)
    assert known.freedom == np.inf
    assert long.sigma_of("rate") == pytest.approx(known.sigma_of("rate") * widening(long.freedom))


def test_a_gap_is_not_bridged() -> None:
    """Taking away a year changes the fit by what was there, and adds nothing in its place."""
    years = years_since(1500)
    values = coloured_noise(np.random.default_rng(2), 1500) + 2.0 * years
    keep = (years < 1.5) | (years > 2.5)
    grid = lay_on_grid(years[keep], TrajectoryModel(2.0).design(years[keep]), values[keep], 1 / 365.25)
    assert grid.n_observed == keep.sum()
    assert grid.missing.size == grid.n - keep.sum()
    fit = fit_trajectory(years[keep], values[keep], TrajectoryModel(2.0, harmonics=()), ("flicker_white",))
    assert fit.n == keep.sum()
    assert abs(fit.value_of("rate") - 2.0) < 4.0 * fit.sigma_of("rate")


def test_few_samples_fall_back_to_white_noise() -> None:
    years = np.array([0.0, 1.0, 2.0, 3.0])
    grid = lay_on_grid(years, TrajectoryModel(1.5, harmonics=()).design(years), np.array([0.0, 1.0, 2.1, 2.9]))
    assert [model.name for model in estimate_noise(grid)] == ["white"]
