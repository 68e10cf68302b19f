"""Unlogged steps in coloured noise, and change points of bare series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from analytics.changepoints import detect_change_points
from analytics.step_doubt import average_over_steps
from analytics.steps import detect_steps, search_steps
from analytics.trajectory import choose_model, fit_trajectory
from tests.analytics.simulation import covering, f1_score, gnss_like, match_offsets, offset_series, stepped_series, years_since


def test_a_step_is_found_sized_and_dated() -> None:
    samples, years = gnss_like(0, 2000), years_since(2000)
    stepped = samples.value + 20.0 * (years >= years[1200])
    found = detect_steps(years, stepped, choose_model(years))
    assert len(found) == 1
    step = found[0]
    assert abs(step.year - years[1200]) < 5.0 / 365.25
    assert step.earliest <= years[1200] <= step.latest + 2.0 / 365.25
    assert abs(step.size - 20.0) < 4.0 * step.sigma
    assert step.sigma < 4.0


@pytest.mark.slow
@pytest.mark.parametrize(("vertical", "rate_rms", "size_rms"), [(False, 0.22, 1.0), (True, 0.60, 2.5)])
def test_unlogged_offsets_are_found_sized_and_kept_out_of_the_rate(vertical: bool, rate_rms: float, size_rms: float) -> None:
    """Six simulated GNSS components that the limit was not chosen on; `make bench` takes 165 beside the peers."""
    rates, sizes, hits, large, false = [], [], 0, 0, 0
    for seed in range(2000, 2006):
        series = offset_series(seed, vertical)
        years, values = series.years, series.samples.value
        search = search_steps(years, values, choose_model(years))
        fit = fit_trajectory(years, values, search.model, ("flicker_white",))
        averaged, _ = average_over_steps(years, values, fit, [step.year for step in search.steps])
        rates.append(averaged.value_of("rate") - series.rate)
        matched = match_offsets(series.steps, np.array([step.year for step in search.steps]))
        big = [(i, j) for i, j in matched if abs(series.sizes[i]) >= 5.0]
        sizes += [search.steps[j].size - series.sizes[i] for i, j in big]
        hits, large = hits + len(big), large + int((np.abs(series.sizes) >= 5.0).sum())
        false += len(search.steps) - len(matched)
    assert float(np.sqrt(np.mean(np.square(rates)))) <= rate_rms
    assert float(np.sqrt(np.mean(np.square(sizes)))) <= size_rms
    assert 2.0 * hits / (2.0 * hits + false + large - hits) >= 0.65
    assert false <= 3


def test_a_logged_step_is_not_found_again() -> None:
    samples, years = gnss_like(1, 1500), years_since(1500)
    stepped = samples.value + 30.0 * (years >= years[700])
    assert detect_steps(years, stepped, choose_model(years, [float(years[700])])) == []


def test_two_steps_with_gaps_between_are_both_found() -> None:
    samples, years = gnss_like(6, 2200), years_since(2200)
    stepped = samples.value + 25.0 * (years >= years[600]) - 30.0 * (years >= years[1500])
    keep = np.random.default_rng(0).random(2200) > 0.1
    keep[900:960] = False
    found = detect_steps(years[keep], stepped[keep], choose_model(years[keep]))
    assert [round(step.size / 5.0) > 0 for step in found] == [True, False]
    np.testing.assert_allclose([step.year for step in found], [years[600], years[1500]], atol=0.02)


def test_nothing_is_invented_on_flicker_noise() -> None:
    invented = 0
    for seed in range(100, 116):
        samples, years = gnss_like(seed, 1200), years_since(1200)
        invented += len(detect_steps(years, samples.value, choose_model(years)))
    assert invented == 0


@pytest.mark.parametrize("n", [0, 1, 10, 59])
def test_a_short_record_has_no_steps(n: int) -> None:
    assert detect_steps(years_since(n), np.zeros(n), choose_model(years_since(max(n, 2)))) == []


def test_change_points_reach_the_promised_score(shared_data: Path) -> None:
    folder = shared_data / "changepoint/tcpd"
    expected = json.loads((folder / "expected.json").read_text())
    scores, covers = [], []
    for name, judged in expected["annotations"].items():
        values = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)[:, 2]
        found = [point.index for point in detect_change_points(values)]
        scores.append(f1_score(judged, found))
        covers.append(covering(judged, found, values.size))
    assert float(np.mean(scores)) >= 0.90
    assert float(np.mean(covers)) >= 0.75


@pytest.mark.parametrize("coefficient", [0.0, 0.6, 0.9, 0.97, 0.99])
def test_autocorrelated_noise_does_not_split_itself(coefficient: float) -> None:
    """At most one split in fifteen change-free series, on other seeds than the settings were chosen on."""
    series = [np.random.default_rng(seed).normal(size=500) for seed in range(120)]
    found = sum(len(detect_change_points(np.asarray(lfilter([1.0], [1.0, -coefficient], x)))) for x in series)
    assert found <= len(series) / 15


def test_change_points_of_simulated_series_that_the_settings_were_not_chosen_on() -> None:
    scores = []
    for seed in range(10_000, 10_100):
        values, cuts = stepped_series(seed)
        scores.append(f1_score({"truth": cuts}, [point.index for point in detect_change_points(values)]))
    assert float(np.mean(scores)) >= 0.80


@pytest.mark.parametrize("noise", [0.02, 1.0])
def test_a_bent_line_is_one_change_of_trend(noise: float) -> None:
    t = np.arange(300.0)
    values = 0.05 * t - 0.15 * np.maximum(t - 180.0, 0.0) + np.random.default_rng(4).normal(0.0, noise, 300)
    (found,) = detect_change_points(values)
    assert abs(found.index - 180) <= 12
    assert found.kind == "trend"
    assert found.score > 1.0


def test_a_jump_of_a_line_is_a_change_of_level() -> None:
    values = 0.05 * np.arange(200.0) + np.random.default_rng(5).normal(0.0, 0.5, 200)
    values[120:] += 6.0
    assert [(point.index, point.kind) for point in detect_change_points(values)] == [(120, "level")]


def test_noise_that_grows_is_a_change_of_spread() -> None:
    values = np.random.default_rng(6).normal(size=300)
    values[150:] *= 5.0
    (found,) = detect_change_points(values)
    assert abs(found.index - 150) <= 10
    assert found.kind == "spread"


@pytest.mark.parametrize("seed", range(5))
def test_changes_that_stand_close_in_a_long_series_keep_their_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = 6_000 + np.cumsum([0, 101, 104, 120])
    values = rng.normal(size=6_300 + 6_000)
    for cut in cuts:
        values[cut:] += rng.choice([-8.0, 8.0])
    found = [point.index for point in detect_change_points(values)]
    assert found
    assert (np.diff(found) > 0).all()


def test_a_straight_line_does_not_change() -> None:
    noise = np.random.default_rng(7).normal(size=(40, 250))
    assert sum(len(detect_change_points(0.2 * np.arange(250.0) + row)) for row in noise) <= 2


def test_scale_and_shift_leave_the_change_points_where_they_are() -> None:
    values = np.random.default_rng(8).normal(size=400)
    values[250:] += 3.0
    plain = [point.index for point in detect_change_points(values)]
    assert plain == [250]
    assert [point.index for point in detect_change_points(1e-3 * values + 7.0)] == plain


def test_a_long_series_is_searched_on_blocks_and_placed_on_samples() -> None:
    values = np.random.default_rng(9).normal(size=20_000)
    values[12_345:] += 2.0
    found = detect_change_points(values)
    assert len(found) == 1
    assert abs(found[0].index - 12_345) <= 12
