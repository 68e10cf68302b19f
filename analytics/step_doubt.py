"""How much a rate knows of steps that are likely and not certain.

A step of a few millimetres in flicker noise can be neither told nor denied, yet it bends the rate. Each such candidate is a column of
the trajectory that is there with a probability. With S a set of candidates, T_j the chi-square of candidate j in the company of S, and
w_j the length of time over which it may be dated (the integral of exp((T - T_max) / 2)),

    p(S | y) ~ exp(dQ_S / 2) prod_(j in S) lambda w_j exp(-1/2) T_j^(-1/2),

dQ_S being what S takes from the weighted squares, lambda the steps a year that are expected beforehand, and the last two factors what
a normal prior of the size that fits best costs. Parameters and covariance are the means over all sets, the covariance widened by how
much the sets differ: the interval of the rate then holds the steps that nobody can see. This file holds that mean.

References: Hoeting, Madigan, Raftery and Volinsky (1999), doi:10.1214/ss/1009212519 (model averaging); George and Foster (2000),
doi:10.1093/biomet/87.4.731 (priors of the size that fits best); Gazeaux et al. (2013), doi:10.1002/jgrb.50152 (steps a year).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analytics.gls import Grid, generalised_least_squares, lay_on_grid
from analytics.noise_doubt import widening
from analytics.sampling import Floats
from analytics.steps import REDATE_WITHIN, best_cell, first_year_at, step_statistics, with_steps
from analytics.trajectory import TrajectoryFit, TrajectoryModel, fit_trajectory

STEPS_A_YEAR = 0.25
"""Steps a year that are expected before the data are seen: geodetic logs hold one in three to five years."""
CANDIDATE_LIMIT = 10.0
"""Smallest chi-square of a candidate; below it the probability is a few per cent."""
MOST_CANDIDATES = 7
"""All sets of them are weighed."""
SHOWN_FROM = 0.05
"""Smallest probability of a step that is kept in the trajectory."""


@dataclass(frozen=True)
class DoubtfulStep:
    """A step that is in the trajectory with a probability; `size` and `sigma` are means over its being there and not."""

    year: float
    probability: float
    size: float
    sigma: float


@dataclass(frozen=True)
class _Candidate:
    year: float
    width_a: float


def average_over_steps(
    years: Floats,
    values: Floats,
    fit: TrajectoryFit,
    certain: Sequence[float],
    refused: Sequence[float] = (),
    margin: int = 15,
    separation: int = 30,
) -> tuple[TrajectoryFit, tuple[DoubtfulStep, ...]]:
    """A fit whose parameters and covariance are means over the sets of steps that the samples allow.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        The samples that were fitted.
    fit : TrajectoryFit
        Under the noise that was estimated with the likely steps in the trajectory.
    certain : sequence of float
        Its steps that are beyond doubt: logged ones and those that are told.
    refused, margin, separation
        As in `steps.search_steps`.

    Returns
    -------
    fit : TrajectoryFit
        With the doubtful steps among its columns; the given one where there are none.
    doubtful : tuple of DoubtfulStep
        In time order.
    """
    base = replace(fit.model, steps=tuple(step for step in fit.model.steps if step in set(certain)))
    centred = values - float(np.median(values))
    found = _candidates(years, centred, base, fit, (margin, separation, refused))
    if not found:
        return (fit if base == fit.model else refitted(years, values, base, fit)), ()
    weights, _, _ = _mean_over_sets(years, centred, base, found, fit)
    kept = [candidate for candidate, weight in zip(found, weights, strict=True) if weight >= SHOWN_FROM]
    if not kept:
        return refitted(years, values, base, fit), ()
    weights, parameters, covariance = _mean_over_sets(years, centred, base, kept, fit)
    parameters[0] += float(np.median(values))
    model = with_steps(base, [candidate.year for candidate in kept])
    fitted = model.design(years) @ parameters
    averaged = replace(fit, model=model, parameters=parameters, covariance=covariance, fitted=fitted, residual=values - fitted)
    doubtful = []
    for candidate, weight in sorted(zip(kept, weights, strict=True), key=lambda pair: pair[0].year):
        name = f"step_{model.steps.index(candidate.year)}"
        doubtful.append(DoubtfulStep(candidate.year, float(weight), averaged.value_of(name), averaged.sigma_of(name)))
    return averaged, tuple(doubtful)


def _candidates(
    years: Floats, centred: Floats, base: TrajectoryModel, fit: TrajectoryFit, where: tuple[int, int, Sequence[float]]
) -> list[_Candidate]:
    """The largest statistics one after the other, each with the others' columns in the trajectory."""
    margin, separation, refused = where
    found: list[_Candidate] = []
    while len(found) < MOST_CANDIDATES:
        current = with_steps(base, [candidate.year for candidate in found])
        grid = lay_on_grid(years, current.design(years), centred)
        statistic, _, _ = step_statistics(grid, fit.noise)
        best = best_cell(grid, statistic, years, (*current.steps, *refused), margin, separation)
        if best is None or not statistic[best] >= CANDIDATE_LIMIT:
            break
        found.append(_Candidate(first_year_at(grid, years, best), _width_a(grid, statistic, best)))
    return found


def _width_a(grid: Grid, statistic: Floats, best: int) -> float:
    """Years over which the likelihood spreads the date of a step."""
    near = grid.occupied[np.abs(grid.occupied - best) <= REDATE_WITHIN]
    return float(np.exp(0.5 * (np.minimum(statistic[near], statistic[best]) - statistic[best])).sum() * grid.step_a)


def _mean_over_sets(
    years: Floats, centred: Floats, base: TrajectoryModel, found: Sequence[_Candidate], fit: TrajectoryFit
) -> tuple[Floats, Floats, Floats]:
    """Probability of each candidate, and mean and covariance of the parameters of the trajectory with all of them."""
    model = with_steps(base, [candidate.year for candidate in found])
    full = generalised_least_squares(lay_on_grid(years, model.design(years), centred), fit.noise)
    variance = full.noise.scale**2
    gram = np.linalg.pinv(full.covariance / variance, hermitian=True)
    moment = gram @ full.parameters
    first, size = model.names.index("step_0"), len(model.names)
    columns = np.array([first + model.steps.index(candidate.year) for candidate in found])
    prior = np.log([STEPS_A_YEAR * candidate.width_a for candidate in found])
    sets = (np.arange(1 << len(found))[:, None] >> np.arange(len(found))) & 1 == 1
    logs, parameters, covariances = np.zeros(len(sets)), np.zeros((len(sets), size)), np.zeros((len(sets), size, size))
    for i, chosen in enumerate(sets):
        used = np.setdiff1d(np.arange(size), columns[~chosen])
        cofactor = np.linalg.pinv(gram[np.ix_(used, used)], hermitian=True)
        parameters[i, used] = cofactor @ moment[used]
        covariances[i][np.ix_(used, used)] = variance * cofactor
        there = columns[chosen]
        power = np.maximum(parameters[i, there] ** 2 / np.maximum(covariances[i][there, there], 1e-300), 1.0)
        gain = 0.5 * float(moment @ parameters[i]) / variance
        logs[i] = gain + float((prior[chosen] - 0.5 * np.log(power) - 0.5).sum())
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = weights @ parameters
    apart = parameters - mean
    wider = widening(fit.freedom) if np.isfinite(fit.freedom) else 1.0
    covariance = wider**2 * np.tensordot(weights, covariances, 1) + (apart.T * weights) @ apart
    return np.asarray(weights @ sets), mean, np.asarray(covariance)


def refitted(years: Floats, values: Floats, model: TrajectoryModel, fit: TrajectoryFit) -> TrajectoryFit:
    """The same noise under a trajectory with fewer steps."""
    plain = fit_trajectory(years, values, model, noise=fit.noise)
    wider = widening(fit.freedom) if np.isfinite(fit.freedom) else 1.0
    return replace(plain, covariance=plain.covariance * wider**2, candidates=fit.candidates, freedom=fit.freedom)
