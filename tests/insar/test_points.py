"""Many points at once: equal to one at a time by other people's programs, and honest where nothing can be told."""

from __future__ import annotations

import doctest
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pymannkendall
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import theilslopes

import analytics.insar as points_module
import analytics.insar_geometry as geometry_module
import analytics.insar_trend as trend_module
from analytics.insar import PointSettings, fit_points
from analytics.insar_pairs import pair_statistics as compiled_statistics
from analytics.insar_trend import trend_test

EPOCHS = 120
YEARS = 2018.0 + np.arange(EPOCHS) * 12 / 365.25


def ground(points: int, seed: int = 0, phi: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 3, (EPOCHS, points))
    for epoch in range(1, EPOCHS):
        noise[epoch] = phi * noise[epoch - 1] + np.sqrt(1 - phi**2) * noise[epoch]
    return -7.0 * (YEARS - 2018)[:, None] + 4.0 * np.sin(2 * np.pi * YEARS)[:, None] + 5000.0 + noise


def with_gaps(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    holes = np.random.default_rng(3).random(values.shape) < share
    return np.where(holes, np.nan, values)


def design(*extra: np.ndarray) -> np.ndarray:
    t = YEARS - YEARS.mean()
    return np.stack([np.ones(EPOCHS), t, np.cos(2 * np.pi * YEARS), np.sin(2 * np.pi * YEARS), *extra], axis=1)


@pytest.mark.parametrize("gaps", [False, True])
def test_rate_and_sigma_are_those_of_statsmodels(gaps: bool) -> None:
    values = with_gaps(ground(20)) if gaps else ground(20)
    step, t = (YEARS >= 2020.1).astype(float), YEARS - 0.5 * (YEARS[0] + YEARS[-1])
    found = fit_points(YEARS, values, PointSettings("ols", acceleration=True, steps=(2020.1,)))
    for point in range(20):
        known = ~np.isnan(values[:, point])
        peer = sm.OLS(values[known, point] - np.mean(values[known, point]), design(t**2, step)[known]).fit()
        shift = YEARS.mean() - 0.5 * (YEARS[0] + YEARS[-1])
        assert found["rate_sigma"][point] > 0
        assert abs(found["acceleration"][point] - 2 * peer.params[4]) < 1e-9 * peer.bse[4] * 2
        assert found["acceleration_sigma"][point] == pytest.approx(2 * peer.bse[4], rel=1e-9)
        assert abs(found["step_1"][point] - peer.params[5]) < 1e-9 * peer.bse[5]
        assert found["rmse"][point] == pytest.approx(np.sqrt(np.mean(peer.resid**2)), rel=1e-9)
        assert abs(shift) < 1e-9 and abs(found["rate"][point] - peer.params[1]) < 1e-9 * peer.bse[1]
        assert found["annual_amplitude"][point] == pytest.approx(np.hypot(peer.params[2], peer.params[3]), rel=1e-9)
        assert found["n"][point] == known.sum()


def test_the_robust_estimate_is_hubers() -> None:
    values = ground(5)
    values[::17] += 60.0
    found = fit_points(YEARS, values, PointSettings("robust"))
    for point in range(5):
        peer = sm.RLM(values[:, point], design(), M=sm.robust.norms.HuberT(1.345)).fit(tol=1e-11, maxiter=300)
        assert found["rate"][point] == pytest.approx(peer.params[1], abs=1e-6 * peer.bse[1])
        assert found["rate_sigma"][point] == pytest.approx(peer.bse[1], rel=1e-6)
        assert abs(found["rate"][point] + 7.0) < 4 * peer.bse[1]


@pytest.mark.parametrize(("phi", "gaps"), [(0.0, False), (0.6, False), (0.6, True)])
def test_the_sigma_under_ar1_covers_the_truth(phi: float, gaps: bool) -> None:
    values = ground(4000, 7, phi)
    found = fit_points(YEARS, with_gaps(values) if gaps else values, PointSettings("ar1"))
    error = (found["rate"] + 7.0) / found["rate_sigma"]
    assert 0.92 <= np.mean(np.abs(error) < 1.96) <= 0.975  # 120 values of phi 0.6 are worth about 30 independent ones
    assert np.median(found["phi"]) == pytest.approx(phi, abs=0.06)
    if phi:
        plain = fit_points(YEARS, values, PointSettings("ols"))
        assert np.mean(np.abs((plain["rate"] + 7.0) / plain["rate_sigma"]) < 1.96) < 0.85


def test_ar1_covariance_is_the_sandwich_written_out() -> None:
    values = with_gaps(ground(6, 5, 0.5))
    found = fit_points(YEARS, values, PointSettings("ar1"))
    for point in range(6):
        known = ~np.isnan(values[:, point])
        x, t = design()[known], YEARS[known]
        r = found["phi"][point] ** (np.abs(t[:, None] - t) / np.median(np.diff(YEARS)))
        inverse = np.linalg.inv(x.T @ x)
        residual = values[known, point] - x @ (inverse @ x.T @ values[known, point])
        variance = residual @ residual / (known.sum() - np.trace(x @ inverse @ x.T @ r))
        expected = np.sqrt(variance * (inverse @ x.T @ r @ x @ inverse)[1, 1])
        assert found["rate_sigma"][point] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("gaps", [False, True])
def test_mann_kendall_and_sen_are_those_of_pymannkendall(gaps: bool) -> None:
    values = np.round(ground(70, 2) / 4)[:40]
    values = with_gaps(values) if gaps else values
    found = trend_test(YEARS[:40], values)
    for point in range(70):
        known = ~np.isnan(values[:, point])
        peer = pymannkendall.original_test(values[known, point])
        assert found["mk_z"][point] == pytest.approx(peer.z, abs=1e-12)
        assert found["mk_p"][point] == pytest.approx(peer.p, abs=1e-12)
        t, x = YEARS[:40][known], values[known, point]
        i, j = np.triu_indices(len(t), 1)
        assert found["sen_slope"][point] == pytest.approx(np.median((x[j] - x[i]) / (t[j] - t[i])), abs=1e-9)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("grid", [0.0, 0.1, 8.0])
def test_sens_slope_is_that_of_scipy_to_the_last_bit(gaps: bool, grid: float) -> None:
    values = ground(60, 6)
    values = np.round(values / grid) * grid if grid else values
    values = with_gaps(values) if gaps else values
    found = trend_test(YEARS, values)
    for point in range(60):
        known = ~np.isnan(values[:, point])
        assert found["sen_slope"][point] == theilslopes(values[known, point], YEARS[known]).slope
        peer = pymannkendall.original_test(values[known, point])
        assert found["mk_z"][point] == pytest.approx(peer.z, rel=1e-14)
        assert found["mk_p"][point] == pytest.approx(peer.p, rel=1e-9, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 90), st.sampled_from([0.0, 0.05, 0.6, 1.0]), st.sampled_from([0, 1, 3, 1000]))
@example(0, 90, 0.0, 0)
def test_the_compiled_pass_and_arrays_agree_to_the_bit(seed: int, epochs: int, missing: float, values: int) -> None:
    rng = np.random.default_rng(seed)
    years = np.cumsum(rng.uniform(0.01, 0.5, epochs))
    rows = rng.integers(0, values, (20, epochs), endpoint=True).astype(float)
    rows[rng.random(rows.shape) < missing] = np.nan
    for mine, other in zip(compiled_statistics(years, rows), trend_module.pair_statistics(years, rows), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_without_a_compiler_the_trend_is_tested_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trend_test(YEARS, with_gaps(ground(5)))
    monkeypatch.setattr(trend_module, "_compiled", lambda: None)
    found = trend_test(YEARS, with_gaps(ground(5)))
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in expected.items()
    }


def test_the_compiler_is_loaded_by_nothing_but_a_trend_test() -> None:
    program = """if True:
        import sys
        import numpy as np
        import service.cli
        from analytics.insar import PointSettings, fit_points
        years = 2020 + np.arange(60) / 30
        fit_points(years, np.random.default_rng(0).normal(size=(60, 2)), PointSettings())
        assert "numba" not in sys.modules
        fit_points(years, np.random.default_rng(0).normal(size=(60, 2)), PointSettings(trend_test=True))
        assert "numba" in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_correlated_noise_without_trend_is_seldom_called_one() -> None:
    rng_values = ground(1500, 11, 0.6) + 7.0 * (YEARS - 2018)[:, None] - 4.0 * np.sin(2 * np.pi * YEARS)[:, None]
    found = fit_points(YEARS, rng_values, PointSettings("ar1", annual=False, trend_test=True))
    assert np.mean(found["mk_p"] < 0.05) < 0.09
    assert np.mean(trend_test(YEARS, rng_values)["mk_p"] < 0.05) > 0.2


def test_what_cannot_be_told_is_not_a_number() -> None:
    values = ground(4)
    values[5:, 0] = np.nan
    values[:, 1] = np.nan
    values[YEARS < 2020.5, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in ("ols", "ar1", "robust"):
            found = fit_points(YEARS, values, PointSettings(sigma, steps=(2020.1,), trend_test=True))
            assert np.isnan(found["rate"][:3]).all()
            assert np.isfinite(found["rate"][3])
            assert found["n"].tolist()[:2] == [5, 0]
            assert np.isnan(found["mk_p"][1])


def test_a_year_is_needed_for_the_seasons() -> None:
    short = fit_points(YEARS[:20], ground(3)[:20], PointSettings("ols"))
    assert "annual_amplitude" not in short.columns
    with pytest.raises(ValueError, match="increase"):
        fit_points(YEARS[::-1], ground(3), PointSettings())
    with pytest.raises(ValueError, match="sigma"):
        fit_points(YEARS, ground(3), PointSettings("guess"))


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(0.01, 100.0), st.sampled_from(["ols", "ar1", "robust"]), st.booleans())
def test_shift_and_scale_change_the_answer_only_by_that_law(shift: float, scale: float, sigma: str, gaps: bool) -> None:
    values = with_gaps(ground(3, 4)) if gaps else ground(3, 4)
    chosen = PointSettings(sigma, trend_test=True)
    one, two = fit_points(YEARS, values, chosen), fit_points(YEARS, scale * values + shift, chosen)
    for name in ("rate", "rate_sigma", "rmse", "annual_amplitude", "sen_slope"):
        np.testing.assert_allclose(two[name], scale * one[name], rtol=1e-5, atol=1e-7 * scale)
    np.testing.assert_allclose(two["mk_z"], one["mk_z"], atol=0.02)
    turned = fit_points(YEARS, -values, chosen)
    np.testing.assert_allclose(turned["rate"], -one["rate"], rtol=1e-6)
    np.testing.assert_allclose(turned["rate_sigma"], one["rate_sigma"], rtol=1e-6)


@pytest.mark.parametrize("module", [points_module, geometry_module, trend_module])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0
