"""Steps that can be neither told nor denied: weighed in the rate, and the interval holds them."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.step_doubt import average_over_steps
from analytics.steps import search_steps
from analytics.trajectory import TrajectoryFit, choose_model, fit_trajectory
from tests.analytics.simulation import coloured_noise, years_since

N = 1500


def series(seed: int, *sizes: float) -> tuple[np.ndarray, np.ndarray]:
    """Quiet flicker noise with steps that divide the record evenly."""
    years = years_since(N)
    values = coloured_noise(np.random.default_rng(seed), N, 1.0, 2.5) + 3.0 * years
    for j, size in enumerate(sizes, 1):
        values += size * (years >= years[j * N // (len(sizes) + 1)])
    return years, values


def plain(years: np.ndarray, values: np.ndarray, steps: tuple[float, ...] = ()) -> TrajectoryFit:
    return fit_trajectory(years, values, choose_model(years, steps), ("flicker_white",))


def test_a_step_too_small_to_tell_bends_the_plain_rate_and_hardly_the_averaged_one() -> None:
    errors, plain_errors, held, plain_held = [], [], 0, 0
    for seed in range(8):
        years, values = series(seed, 3.5)
        fit = plain(years, values)
        averaged, _ = average_over_steps(years, values, fit, ())
        errors.append(averaged.value_of("rate") - 3.0)
        plain_errors.append(fit.value_of("rate") - 3.0)
        held += abs(errors[-1]) < 1.96 * averaged.sigma_of("rate")
        plain_held += abs(plain_errors[-1]) < 1.96 * fit.sigma_of("rate")
    assert float(np.mean(np.square(errors))) < 0.5 * float(np.mean(np.square(plain_errors)))
    assert held >= 7 > plain_held


def test_a_step_beyond_doubt_is_there_with_probability_one_and_sized_as_if_it_were_known() -> None:
    years, values = series(1, 12.0)
    known = plain(years, values, (float(years[N // 2]),))
    averaged, doubtful = average_over_steps(years, values, known, ())
    certain = max(doubtful, key=lambda step: step.probability)
    assert certain.probability > 0.999
    assert abs(certain.year - years[N // 2]) < 4.0 / 365.25
    assert certain.size == pytest.approx(known.value_of("step_0"), abs=0.5)
    assert averaged.value_of("rate") == pytest.approx(known.value_of("rate"), abs=known.sigma_of("rate"))


def test_noise_alone_keeps_its_rate_and_about_its_sigma() -> None:
    for seed in range(20, 26):
        years, values = series(seed)
        fit = plain(years, values)
        averaged, doubtful = average_over_steps(years, values, fit, ())
        assert all(step.probability < 0.6 for step in doubtful)
        assert abs(averaged.value_of("rate") - fit.value_of("rate")) < fit.sigma_of("rate")
        assert fit.sigma_of("rate") * 0.8 < averaged.sigma_of("rate") < 2.0 * fit.sigma_of("rate")


def test_certain_steps_stay_and_others_are_looked_for_beside_them() -> None:
    years, values = series(3, 15.0, 3.5)
    first = float(years[N // 3])
    averaged, doubtful = average_over_steps(years, values, plain(years, values, (first,)), (first,))
    assert first in averaged.model.steps
    assert all(abs(step.year - first) > 25.0 / 365.25 for step in doubtful)
    assert set(averaged.model.steps) == {first, *(step.year for step in doubtful)}


def test_where_a_person_refused_a_step_none_is_weighed() -> None:
    years, values = series(1, 12.0)
    refused = (float(years[N // 2]),)
    _, doubtful = average_over_steps(years, values, plain(years, values), (), refused)
    assert all(abs(step.year - refused[0]) > 25.0 / 365.25 for step in doubtful)
    assert search_steps(years, values, choose_model(years), refused=refused).steps == ()


@pytest.mark.parametrize(("factor", "shift"), [(1000.0, 0.0), (-0.5, 2.0e4)])
def test_probabilities_do_not_feel_units_and_zero(factor: float, shift: float) -> None:
    years, values = series(5, 3.5)
    _, doubtful = average_over_steps(years, values, plain(years, values), ())
    moved_fit = plain(years, factor * values + shift)
    averaged, moved = average_over_steps(years, factor * values + shift, moved_fit, ())
    assert doubtful
    assert [step.year for step in moved] == [step.year for step in doubtful]
    np.testing.assert_allclose([s.probability for s in moved], [s.probability for s in doubtful], atol=1e-3)
    np.testing.assert_allclose([s.size for s in moved], [factor * s.size for s in doubtful], rtol=5e-3)
    assert averaged.model.steps == tuple(step.year for step in moved)
