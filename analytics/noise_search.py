"""Which noise a series has: restricted maximum likelihood for each candidate, the choice by BIC.

White noise has no shape to search for, AR(1) and flicker plus white have one parameter, the power laws two.
Long records are searched on their most recent part; the fit itself always uses every sample. This file
holds that search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analytics.gls import MAX_MISSING, Grid, generalised_least_squares, window_of
from analytics.minimise import minimise_bounded, minimise_surface
from analytics.noise import MODEL_NAMES, NoiseModel
from analytics.sampling import Floats

MAX_EPOCHS = 8192
NEAR = 1.5
"""How far around an earlier optimum, on the unbounded scale, a search looks first."""
MAX_INDEX = 2.0
"""Random walk: beyond it the noise would have a rate of its own, and the fitted one would mean nothing."""


def _share(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -16.0, 13.0))))


def _model_white(_: Floats) -> NoiseModel:
    return NoiseModel("white", 1.0)


def _model_ar1(x: Floats) -> NoiseModel:
    return NoiseModel("ar1", 1.0, 0.0, ar_coefficient=float(np.tanh(x[0])), n_parameters=2)


def _model_flicker(x: Floats) -> NoiseModel:
    return NoiseModel("flicker_white", 1.0, _share(float(x[0])), 1.0, n_parameters=2)


def _model_power_law(x: Floats) -> NoiseModel:
    index = MAX_INDEX * _share(float(x[1]))
    return NoiseModel("powerlaw_white", 1.0, _share(float(x[0])), index, n_parameters=3)


def _model_power_law_sum(x: Floats) -> NoiseModel:
    return replace(_model_power_law(x), name="powerlaw_sum")


def _index_to_logit(index: float) -> float:
    ratio = min(max(index / MAX_INDEX, 1e-3), 1.0 - 1e-3)
    return float(np.log(ratio / (1.0 - ratio)))


def _search_one(
    grid: Grid, build: Callable[[Floats], NoiseModel], low: float, high: float, near: float | None = None
) -> NoiseModel:
    """Best model of one parameter, looked for around `near` first."""

    def cost(x: float) -> float:
        return -generalised_least_squares(grid, build(np.array([x]))).noise.log_likelihood

    if near is not None:
        left, right = max(near - NEAR, low), min(near + NEAR, high)
        found = minimise_bounded(cost, left, right, tolerance=0.05)
        if left + 0.1 < found < right - 0.1 or found < low + 0.1 or found > high - 0.1:
            return build(np.array([found]))
    return build(np.array([minimise_bounded(cost, low, high, tolerance=0.05)]))


def _search_power_law(grid: Grid, build: Callable[[Floats], NoiseModel], start: NoiseModel) -> NoiseModel:
    """Best mixture of white and power law, from the best mixture with flicker."""

    def cost(x: Floats) -> float:
        return -generalised_least_squares(grid, build(x)).noise.log_likelihood

    share = min(max(start.white_share, 0.02), 0.999)
    origin = np.array([np.log(share / (1.0 - share)), _index_to_logit(start.index)])
    found = minimise_surface(cost, origin, np.array([0.4, 0.3]))
    return build(found.at)


def estimate_noise(
    grid: Grid,
    candidates: tuple[str, ...] = MODEL_NAMES,
    known: Sequence[NoiseModel] = (),
    near: Sequence[NoiseModel] = (),
) -> list[NoiseModel]:
    """Fit each candidate by restricted maximum likelihood; best BIC first.

    Parameters
    ----------
    grid : Grid
        Long records are searched on their most recent `MAX_EPOCHS` cells holding at most
        `MAX_MISSING` missing ones; the fit itself always uses every sample.
    candidates : tuple of str
        Names out of `MODEL_NAMES`.
    known : sequence of NoiseModel
        Shapes that were searched for on the same grid already and are not searched for again.
    near : sequence of NoiseModel
        Shapes of the same samples under another trajectory: where to look first.

    Returns
    -------
    list of NoiseModel
        Never empty; with fewer than p + 4 samples only white noise is tried.
    """
    used = search_grid(grid)
    if used.n_observed < used.design.shape[1] + 4:
        return [generalised_least_squares(used, _model_white(np.empty(0))).noise]
    shapes = {model.name: model for model in known if model.name in candidates}
    wanted = [name for name in candidates if name not in shapes]
    begin = {model.name: _first_parameter(model) for model in near}
    earlier = {model.name: model for model in near}
    if "white" in wanted:
        shapes["white"] = _model_white(np.empty(0))
    if "ar1" in wanted:
        shapes["ar1"] = _search_one(used, _model_ar1, -1.0, 3.8, begin.get("ar1"))
    if set(wanted) & {"flicker_white", "powerlaw_white", "powerlaw_sum"}:
        start = shapes.get("powerlaw_white") or shapes.get("flicker_white")
        start = start or _search_one(used, _model_flicker, -9.0, 12.0, begin.get("flicker_white"))
        if "flicker_white" in wanted:
            shapes["flicker_white"] = start
        if "powerlaw_white" in wanted:
            origin = earlier.get("powerlaw_white", start)
            start = shapes["powerlaw_white"] = _search_power_law(used, _model_power_law, origin)
        if "powerlaw_sum" in wanted:
            shapes["powerlaw_sum"] = _search_power_law(used, _model_power_law_sum, start)
    fitted = [generalised_least_squares(used, shape).noise for shape in shapes.values()]
    return sorted(fitted, key=lambda model: model.bic)


def _first_parameter(model: NoiseModel) -> float:
    """What `_search_one` searches: the coefficient of AR(1) or the share of white noise, unbounded."""
    if model.name == "ar1":
        return float(np.arctanh(np.clip(model.ar_coefficient, -0.9999, 0.9999)))
    share = min(max(model.white_share, 1e-7), 1.0 - 1e-7)
    return float(np.log(share / (1.0 - share)))


def search_grid(grid: Grid) -> Grid:
    """Part of a record on which its noise is searched for: the most recent one within the sizes, with the columns that move there."""
    return _without_dead_columns(window_of(grid, MAX_EPOCHS, MAX_MISSING))


def _without_dead_columns(grid: Grid) -> Grid:
    """Leave out columns that are constant zero or repeat another one within the window."""
    norms = np.linalg.norm(grid.design, axis=0)
    design = grid.design[:, norms > 0.0]
    if design.shape[1]:
        unit = design / np.linalg.norm(design, axis=0)
        keep: list[int] = []
        for column in range(unit.shape[1]):
            trial = [*keep, column]
            if np.linalg.matrix_rank(unit[:, trial], tol=1e-8) == len(trial):
                keep.append(column)
        design = design[:, keep]
    return replace(grid, design=design)
