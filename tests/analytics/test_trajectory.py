"""Design matrix, weighted levelling and the laws of the fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.levelling import change_between_epochs, levelling_sigma_mm
from analytics.trajectory import (
    TrajectoryModel,
    choose_model,
    fit_trajectory,
    fit_weighted,
    model_as_json,
    model_from_json,
)
from tests.analytics.simulation import years_since


def test_every_term_is_recovered_from_a_noiseless_curve() -> None:
    years = 2010.0 + years_since(3000)
    model = TrajectoryModel(2014.0, True, (1, 2), (2012.3, 2015.1), (), ((2013.0, 0.1),), ((2016.0, 0.5),))
    truth = np.array([5.0, -4.0, 0.6, 3.0, -1.0, 0.5, 0.2, 12.0, -7.0, 4.0, 2.0])
    fit = fit_trajectory(years, model.design(years) @ truth, model, candidates=("white",))
    np.testing.assert_allclose(fit.parameters, truth, atol=1e-8)
    assert fit.value_of("acceleration") == pytest.approx(2.0 * 0.3)
    assert fit.amplitude_of(1)[0] == pytest.approx(np.hypot(3.0, 1.0))


@settings(max_examples=15, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(0.01, 100.0), st.floats(-20.0, 20.0))
def test_shift_scale_and_retime_act_by_their_law(shift: float, scale: float, delay: float) -> None:
    rng, years = np.random.default_rng(1), years_since(1200)
    values = rng.normal(size=1200) + 3.0 * years
    plain = fit_trajectory(years, values, choose_model(years), candidates=("white",))
    moved = fit_trajectory(
        years + round(delay), scale * values + shift, choose_model(years + round(delay)), candidates=("white",)
    )
    assert moved.value_of("rate") == pytest.approx(scale * plain.value_of("rate"), rel=1e-6)
    assert moved.sigma_of("rate") == pytest.approx(scale * plain.sigma_of("rate"), rel=1e-6)


def test_a_model_survives_its_json() -> None:
    model = TrajectoryModel(2014.0, True, (1,), (2012.3,), (2013.0,), ((2013.0, 0.1),), ((2016.0, 0.5),))
    assert model_from_json(model_as_json(model)) == model


def test_a_short_record_gets_no_seasonal_terms() -> None:
    assert choose_model(years_since(300)).harmonics == ()
    assert choose_model(years_since(1200)).harmonics == (1, 2)
    assert choose_model(np.arange(8.0)).harmonics == ()


def test_steps_that_no_sample_can_tell_apart_are_one() -> None:
    years = np.arange(10.0)
    assert choose_model(years, [3.5, 3.6, 9.5, -1.0]).steps == (3.5,)


@pytest.mark.parametrize(
    ("levelling_class", "distance_km", "expected"), [("I", 10, 2.0), ("I", 50, 4.5), ("II", 10, 4.5), ("II", 50, 10.0)]
)
def test_between_epoch_sigmas_are_the_tabulated_ones(levelling_class: str, distance_km: float, expected: float) -> None:
    sigma = levelling_sigma_mm(levelling_class, distance_km)
    assert change_between_epochs(0.0, sigma, sigma).sigma == pytest.approx(expected, abs=0.06)


def test_an_unknown_class_or_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="class"):
        levelling_sigma_mm("V", 10.0)
    with pytest.raises(ValueError, match="positive"):
        levelling_sigma_mm("I", 0.0)


def test_given_sigmas_set_the_weights_and_the_error() -> None:
    years = np.array([2000.0, 2010.0, 2020.0])
    sigmas = np.array([1.0, 100.0, 1.0])
    fit = fit_weighted(years, np.array([0.0, 40.0, -60.0]), sigmas, TrajectoryModel(2010.0, harmonics=()))
    assert fit.value_of("rate") == pytest.approx(-3.0, abs=0.01)
    assert fit.sigma_of("rate") == pytest.approx(np.sqrt(2.0) / 20.0, rel=0.01)


def test_scatter_beyond_the_given_sigmas_widens_them_and_never_narrows() -> None:
    years = np.arange(2000.0, 2012.0)
    model = TrajectoryModel(2006.0, harmonics=())
    calm = fit_weighted(years, np.zeros(12), np.full(12, 2.0), model)
    wild = fit_weighted(years, 40.0 * (-1.0) ** np.arange(12), np.full(12, 2.0), model)
    assert calm.sigma_of("rate") == pytest.approx(2.0 / np.sqrt(143.0), rel=1e-6)
    assert wild.sigma_of("rate") > 15.0 * calm.sigma_of("rate")
