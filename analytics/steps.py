"""Steps that nobody logged, in noise that wanders by itself.

A step is tested in the whitened domain: with U the whitening filter of the noise model and S its running
sum, a unit step at epoch k becomes S shifted by k, so that the generalised-least-squares statistic

    T_k = (s_k' z)^2 / (s_k' s_k),   s_k = (I - Q Q') U H_k,   z = (I - Q Q') U y

(Q an orthonormal basis of the whitened trajectory) is had for every k from a handful of FFTs. The largest
T is accepted above a fixed limit, the noise is estimated again without that step, and so on. Logged
events are columns of the trajectory from the start and are never found again. Two limits serve two purposes: a step is told to
people above the high one; those between the two are likely enough that the noise is estimated without them, and `step_doubt`
weighs them in the rate. This file holds that search.

References: Williams (2003), doi:10.1007/s00190-002-0283-4; Gazeaux et al. (2013),
doi:10.1002/jgrb.50152 (DOGEx); Killick, Fearnhead and Eckley (2012), doi:10.1080/01621459.2012.737745.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.fft import irfft, rfft

from analytics.gls import Grid, conditional_series, generalised_least_squares, lay_on_grid
from analytics.noise import NoiseModel, next_fast_len, whiten
from analytics.noise_search import estimate_noise
from analytics.sampling import Floats
from analytics.trajectory import TrajectoryModel

STEP_LIMIT = 33.0
"""Smallest chi-square (1 degree of freedom) of an unlogged step that is told; 5.7 sigma, fixed for all series (docs/methods/steps.md)."""

LIKELY_LIMIT = 18.0
"""The same of a step that the noise is estimated without, told or not: about where it is as likely as not."""

MOST_REDATINGS = 3
REDATE_WITHIN = 60
"""Cells by which a step may move when it is dated anew."""

_SEARCH_MODELS = ("flicker_white", "powerlaw_white", "ar1")


@dataclass(frozen=True)
class DetectedStep:
    """A step that the search proposes.

    Attributes
    ----------
    year : float
        Decimal year of the first sample after the step.
    earliest, latest : float
        Interval of decimal years within which the likelihood puts the step (chi-square below 3.84).
    size, sigma : float
        In the unit of the values.
    score : float
        Chi-square of the step with one degree of freedom.
    """

    year: float
    earliest: float
    latest: float
    size: float
    sigma: float
    score: float


def step_statistics(grid: Grid, model: NoiseModel) -> tuple[Floats, Floats, float]:
    """Chi-square and size of a unit step at each cell of the grid, and the innovations' scale.

    Parameters
    ----------
    grid : Grid
        Samples with the design matrix of everything that is known already.
    model : NoiseModel

    Returns
    -------
    statistic, size : ndarray, shape (grid.n,)
    scale : float
    """
    return statistics_of(grid, model, 1)


def statistics_of(grid: Grid, model: NoiseModel, order: int) -> tuple[Floats, Floats, float]:
    """As :func:`step_statistics` for a change that is the `order`-fold running sum of a pulse: 1 a step, 2 a hinge (per cell)."""
    fit = generalised_least_squares(grid, model)
    columns = conditional_series(grid, model)
    whitened = whiten(columns, model)
    norms = np.linalg.norm(whitened[:, :-1], axis=0)
    basis, _ = np.linalg.qr(whitened[:, :-1] / np.where(norms > 0.0, norms, 1.0))
    target = whitened[:, -1] - basis @ (basis.T @ whitened[:, -1])
    inverse, _ = model.inverse_filter(grid.n)
    response = inverse
    for _ in range(order):
        response = np.cumsum(response)
    stacked = np.column_stack((target, basis))
    size = next_fast_len(2 * grid.n)
    spectrum = rfft(stacked, size, axis=0) * np.conj(rfft(response, size))[:, None]
    products = irfft(spectrum, size, axis=0)[: grid.n]
    power = np.cumsum(response**2)[::-1] - (products[:, 1:] ** 2).sum(axis=1)
    power = np.where(power > 1e-6 * np.cumsum(response**2)[::-1], power, np.inf)
    sizes = products[:, 0] / power
    return sizes * products[:, 0] / fit.noise.scale**2, sizes, fit.noise.scale


def interval_around(statistic: Floats, best: int) -> tuple[int, int]:
    """Cells around `best` whose statistic is within 3.84 of it."""
    near = statistic > statistic[best] - 3.84
    low = best
    while low > 0 and near[low - 1]:
        low -= 1
    high = best
    while high < statistic.size - 1 and near[high + 1]:
        high += 1
    return low, high


@dataclass(frozen=True)
class StepSearch:
    """Outcome of a search.

    Attributes
    ----------
    steps : tuple of DetectedStep
        Those that are told.
    model : TrajectoryModel
        The trajectory with all steps that were found in it, told or only likely.
    noise : tuple of NoiseModel
        The noise shapes that belong to that trajectory.
    """

    steps: tuple[DetectedStep, ...]
    model: TrajectoryModel
    noise: tuple[NoiseModel, ...]


def detect_steps(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    limit: float = STEP_LIMIT,
    margin: int = 15,
    separation: int = 30,
    most: int = 20,
    refused: Sequence[float] = (),
) -> list[DetectedStep]:
    """Propose steps that the event log does not hold.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        Decimal years, ascending, about regular; gaps are allowed.
    model : TrajectoryModel
        With the logged steps in it.
    limit : float
        Smallest chi-square of a step that is told.
    margin : int
        Samples at either end that cannot hold a step.
    separation : int
        Fewest samples between two steps, logged ones included.
    most : int
        Give up adding after that many.
    refused : sequence of float
        Times at which a person said that no step is: nothing is found within `separation` samples of them.

    Returns
    -------
    list of DetectedStep
        In time order; empty for records shorter than four times the margin.
    """
    return list(search_steps(years, values, model, limit, margin, separation, most, refused).steps)


def search_steps(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    limit: float = STEP_LIMIT,
    margin: int = 15,
    separation: int = 30,
    most: int = 20,
    refused: Sequence[float] = (),
) -> StepSearch:
    """As :func:`detect_steps`, with the noise that belongs to the trajectory with its steps.

    The noise is estimated once without steps and once more each time nothing is left to find, so that its searches
    number two plus the rounds that find more under the better noise, not one a step.
    """
    look = min(limit, LIKELY_LIMIT)
    if years.size < max(4 * margin, 60):
        return StepSearch((), model, ())
    found: list[float] = []
    centred = values - float(np.median(values))
    noise: tuple[NoiseModel, ...] = ()
    near: tuple[NoiseModel, ...] = ()
    while True:
        current = with_steps(model, found)
        grid = lay_on_grid(years, current.design(years), centred)
        fresh = not noise
        if fresh:
            noise = tuple(estimate_noise(grid, _SEARCH_MODELS, near=near))
            near = noise
        statistic, _, _ = step_statistics(grid, noise[0])
        known = (*current.steps, *refused)
        best = best_cell(grid, statistic, years, known, margin, separation) if len(found) < most else None
        if best is not None and statistic[best] >= look:
            found.append(first_year_at(grid, years, best))
        elif fresh:
            break
        else:
            noise = ()
    if not found:
        return StepSearch((), model, noise)
    return _confirm(years, centred, model, found, (look, limit), noise, (margin, separation), refused)


def with_steps(model: TrajectoryModel, found: Sequence[float]) -> TrajectoryModel:
    """The trajectory with more steps."""
    return replace(model, steps=tuple(sorted([*model.steps, *found])))


def first_year_at(grid: Grid, years: Floats, cell: int) -> float:
    """Time of the first sample in or after a cell."""
    cells = np.rint((years - years[0]) / grid.step_a).astype(np.int64)
    return float(years[np.searchsorted(cells, cell, side="left")])


def best_cell(grid: Grid, statistic: Floats, years: Floats, steps: Sequence[float], margin: int, separation: int) -> int | None:
    """The observed cell with the largest statistic that keeps its distances."""
    allowed = np.zeros(grid.n, dtype=bool)
    allowed[grid.occupied[margin:-margin]] = True
    order = np.full(grid.n, -1)
    order[grid.occupied] = np.arange(grid.n_observed)
    for step in steps:
        cell = round((step - years[0]) / grid.step_a)
        at = int(np.searchsorted(grid.occupied, cell))
        allowed &= np.abs(order - at) >= separation
    if not allowed.any():
        return None
    return int(np.argmax(np.where(allowed, statistic, -np.inf)))


def _confirm(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    found: list[float],
    limits: tuple[float, float],
    noise: tuple[NoiseModel, ...],
    distances: tuple[int, int],
    refused: Sequence[float],
) -> StepSearch:
    """Drop steps that the others explain, date each anew in the company of the others, then size them.

    A step is first seen under the noise of a trajectory without it, which may be far too rough to date it by.
    """
    redated, near = 0, noise
    while found:
        full = with_steps(model, found)
        grid = lay_on_grid(years, full.design(years), values)
        noise = noise or tuple(estimate_noise(grid, _SEARCH_MODELS, near=near))
        near = noise
        fit = generalised_least_squares(grid, noise[0])
        first = full.names.index("step_0")
        rows = [first + full.steps.index(step) for step in found]
        scores = (fit.parameters[rows] / np.maximum(fit.sigmas[rows], 1e-300)) ** 2
        weakest = int(np.argmin(scores))
        if scores[weakest] < limits[0]:
            found = [step for i, step in enumerate(found) if i != weakest]
            noise = ()
            continue
        moved = [_redated(years, values, model, found, i, noise[0], (*distances, refused)) for i in range(len(found))]
        if moved != found and redated < MOST_REDATINGS:
            found, noise, redated = moved, (), redated + 1
            continue
        order = [i for i in np.argsort(found) if scores[i] >= limits[1]]
        steps = [
            _describe(years, values, model, found, i, noise[0], (fit.parameters[rows[i]], fit.sigmas[rows[i]], scores[i]))
            for i in order
        ]
        return StepSearch(tuple(steps), full, noise)
    return StepSearch((), model, noise)


def _redated(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    found: Sequence[float],
    which: int,
    noise: NoiseModel,
    where: tuple[int, int, Sequence[float]],
) -> float:
    """The likeliest time of one step within the samples that are not nearer to another step than to this one's old place."""
    margin, separation, refused = where
    rest = with_steps(model, [step for i, step in enumerate(found) if i != which])
    grid = lay_on_grid(years, rest.design(years), values)
    statistic, _, _ = step_statistics(grid, noise)
    old = round((found[which] - years[0]) / grid.step_a)
    far = np.abs(np.arange(grid.n) - old) > REDATE_WITHIN
    best = best_cell(grid, np.where(far, -np.inf, statistic), years, (*rest.steps, *refused), margin, separation)
    if best is None or not statistic[best] > statistic[old]:
        return found[which]
    return first_year_at(grid, years, best)


def _describe(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    found: list[float],
    which: int,
    noise: NoiseModel,
    estimate: tuple[float, float, float],
) -> DetectedStep:
    """Date interval of one step from the profile of the statistic with the other steps in the trajectory."""
    rest = with_steps(model, [step for i, step in enumerate(found) if i != which])
    grid = lay_on_grid(years, rest.design(years), values)
    statistic, _, _ = step_statistics(grid, noise)
    at = round((found[which] - years[0]) / grid.step_a)
    low, high = interval_around(statistic, min(max(at, 0), grid.n - 1))
    size, sigma, score = estimate
    return DetectedStep(
        year=found[which],
        earliest=float(years[0] + (low - 1) * grid.step_a),
        latest=float(years[0] + high * grid.step_a),
        size=float(size),
        sigma=float(sigma),
        score=float(score),
    )
