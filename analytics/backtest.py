"""Which way of forecasting has served a series best, and how far off it has been: rolling origins on its own past.

At every origin each model sees only what was known then, and so do the choice between them and the width of the interval: the errors
that count are those whose outcome lay in the past. The interval is

    value +- t_nu(level) * sqrt(mean of e^2),

the mean being that of all errors or of their newer half, whichever is larger, and nu the number of separate horizons that the errors
span. This file finishes with `back_test`.

References: Tashman (2000), doi:10.1016/S0169-2070(00)00065-0 (rolling origins); Kuensch (1989), doi:10.1214/aos/1176347265 (blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.forecast_models import MODELS
from analytics.noise_doubt import student_quantile
from analytics.sampling import Floats

DEFAULT, REFERENCE = "combined", "persistence"
MARGIN = 0.1
"""Another model is only preferred where it was better by a tenth, overall and in the newer half of the past."""
FEWEST_ERRORS = 6
NEWER_SHARE = 0.5
LEVELS = (0.80, 0.95)


@dataclass(frozen=True)
class Trials:
    """Errors of every model at every origin and horizon; NaN where nothing is known.

    Attributes
    ----------
    origins : ndarray, shape (o,)
        Decimal years.
    horizons : ndarray, shape (h,)
        Years ahead.
    errors : ndarray, shape (models, o, h)
        Forecast minus outcome, in the order of `names`.
    """

    names: tuple[str, ...]
    origins: Floats
    horizons: Floats
    errors: Floats

    def of(self, name: str) -> Floats:
        """Errors of one model, shape (o, h)."""
        return np.asarray(self.errors[self.names.index(name)])


def try_models(
    years: Floats, values: Floats, horizons: Floats, every_a: float = 0.0, most: int = 40, first_share: float = 0.25
) -> Trials:
    """Forecast from origins in the past.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        About regular; the sample within three quarters of the typical interval of the time aimed at is its outcome.
    horizons : ndarray, shape (h,)
        Years ahead.
    every_a : float
        Years between origins, at least; more where there would be more than `most` of them.
    first_share : float
        Share of the record before the first origin.
    """
    tolerance = max(0.75 * float(np.median(np.diff(years))), 0.02) if years.size > 1 else 0.1
    span = float(years[-1] - years[0])
    begin, end = years[0] + first_share * span, float(years[-1] - horizons.min())
    count = int(min((end - begin) / max(every_a, tolerance) + 1.0, most)) if end > begin else 0
    wanted = np.searchsorted(years, np.linspace(begin, end, count) + 1e-9, side="right") - 1 if count else np.empty(0)
    rows = np.unique(wanted.astype(np.int64))
    errors = np.full((len(MODELS), rows.size, horizons.size), np.nan)
    for o, row in enumerate(rows):
        truth = _outcomes(years, values, years[row] + horizons, tolerance)
        for m, model in enumerate(MODELS.values()):
            said = model(years[: row + 1], values[: row + 1], horizons)
            if said is not None:
                errors[m, o] = said - truth
    return Trials(tuple(MODELS), years[rows], horizons, errors)


def _outcomes(years: Floats, values: Floats, at: Floats, tolerance: float) -> Floats:
    """Samples nearest to some times, NaN where none is near."""
    right = np.clip(np.searchsorted(years, at), 1, years.size - 1)
    nearest = np.where(at - years[right - 1] <= years[right] - at, right - 1, right)
    return np.where(np.abs(years[nearest] - at) <= tolerance, values[nearest], np.nan)


def known_by(trials: Trials, moment: float) -> NDArray[np.bool_]:
    """Origins and horizons whose outcome was known at a moment, shape (o, h)."""
    return trials.origins[:, None] + trials.horizons[None, :] <= moment + 1e-9


def choose(trials: Trials, moment: float) -> str:
    """The model that had served best by a moment; the default unless another was clearly and lastingly better.

    A model that fits for a part of the origins only is compared with the default on that part.
    """
    known = known_by(trials, moment)
    usual = trials.of(DEFAULT)
    best, gain = DEFAULT, 1.0 - MARGIN
    for name in trials.names:
        if name == DEFAULT:
            continue
        own = trials.of(name)
        both = known & np.isfinite(own) & np.isfinite(usual)
        if np.count_nonzero(both.any(axis=1)) < FEWEST_ERRORS:
            continue
        newer = both & (trials.origins[:, None] >= np.median(trials.origins[both.any(axis=1)]))
        ratios = [_ratio(own, usual, part) for part in (both, newer)]
        if max(ratios) < gain:
            best, gain = name, max(ratios)
    return best


def _ratio(own: Floats, usual: Floats, which: NDArray[np.bool_]) -> float:
    """Mean over the horizons of the ratio of root mean squares."""
    found = []
    for h in range(own.shape[1]):
        rows = which[:, h]
        power = float((usual[rows, h] ** 2).sum())
        if rows.any() and power > 0.0:
            found.append(float(np.sqrt((own[rows, h] ** 2).sum() / power)))
    return float(np.mean(found)) if found else np.inf


def half_widths(trials: Trials, name: str, moment: float, levels: tuple[float, ...] = LEVELS) -> Floats:
    """Half widths of the intervals of a model at a moment, shape (levels, h); NaN where too few errors are known.

    They never shrink with the horizon.
    """
    known = known_by(trials, moment)
    errors = trials.of(name)
    widths = np.full((len(levels), trials.horizons.size), np.nan)
    for h, horizon in enumerate(trials.horizons):
        rows = known[:, h] & np.isfinite(errors[:, h])
        if np.count_nonzero(rows) < FEWEST_ERRORS:
            continue
        newer = rows & (trials.origins >= np.quantile(trials.origins[rows], 1.0 - NEWER_SHARE))
        scale = float(np.sqrt(max(np.mean(errors[part, h] ** 2) for part in (rows, newer))))
        reach = float(np.ptp(trials.origins[rows])) + horizon
        freedom = max(min(reach / horizon, float(np.count_nonzero(rows))), 4.0)
        widths[:, h] = [student_quantile(0.5 + 0.5 * level, freedom) * scale for level in levels]
    return np.asarray(np.fmax.accumulate(widths, axis=1))


@dataclass(frozen=True)
class BackTest:
    """What rolling origins say about the forecasts that would have been made.

    Attributes
    ----------
    chosen : ndarray of str, shape (o,)
        Model chosen at each origin by what was known then.
    errors : ndarray, shape (o, h)
        Of the chosen models.
    reference : ndarray, shape (o, h)
        Errors of persistence where the chosen model has one.
    inside : ndarray, shape (levels, o, h)
        1 where the interval held the outcome, 0 where it did not, NaN where either is unknown.
    """

    trials: Trials
    chosen: NDArray[np.str_]
    errors: Floats
    reference: Floats
    inside: Floats

    def rmse(self, horizon: int) -> tuple[float, float, int]:
        """Root mean squares of the chosen models and of persistence at one horizon, and the number of origins."""
        own, other = self.errors[:, horizon], self.reference[:, horizon]
        both = np.isfinite(own) & np.isfinite(other)
        if not both.any():
            return float("nan"), float("nan"), 0
        return float(np.sqrt(np.mean(own[both] ** 2))), float(np.sqrt(np.mean(other[both] ** 2))), int(both.sum())

    def coverage(self, level: int, horizon: int | None = None) -> tuple[float, int]:
        """Share of intervals that held the outcome, and of how many."""
        cases = self.inside[level] if horizon is None else self.inside[level, :, horizon]
        known = np.isfinite(cases)
        return (float(cases[known].mean()), int(known.sum())) if known.any() else (float("nan"), 0)


def back_test(trials: Trials) -> BackTest:
    """Choose, forecast and judge at every origin with what was known then."""
    o, h = trials.origins.size, trials.horizons.size
    chosen = [choose(trials, moment) for moment in trials.origins]
    errors, inside = np.full((o, h), np.nan), np.full((len(LEVELS), o, h), np.nan)
    for i, moment in enumerate(trials.origins):
        if not np.isfinite(trials.of(chosen[i])[i]).any():
            chosen[i] = REFERENCE
        own = errors[i] = trials.of(chosen[i])[i]
        widths = half_widths(trials, chosen[i], float(moment))
        judged = np.isfinite(widths) & np.isfinite(own)[None, :]
        inside[:, i] = np.where(judged, np.abs(own)[None, :] <= widths, np.nan)
    reference = np.where(np.isfinite(errors), trials.of(REFERENCE), np.nan)
    return BackTest(trials, np.array(chosen, dtype=np.str_), errors, reference, inside)


def bootstrap_difference(
    own: Floats, reference: Floats, groups: NDArray[np.int64], rng: np.random.Generator, draws: int = 2000, block: int = 3
) -> tuple[float, float, float]:
    """Difference of two root mean squares with its 95 % interval by a paired moving-block bootstrap.

    Parameters
    ----------
    own, reference : ndarray, shape (n,)
        Errors of two forecasts of the same outcomes, in time order within each group.
    groups : ndarray of int, shape (n,)
        Series to which each error belongs; blocks do not run from one into the next.
    rng : Generator
    draws, block : int

    Returns
    -------
    difference, low, high : float
        Negative where `own` is better.
    """
    starts = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    length = [min(block, rows.size) for rows in starts]
    blocks = [rows[i : i + k] for rows, k in zip(starts, length, strict=True) for i in range(rows.size - k + 1)]
    squares = np.array([[(own[rows] ** 2).sum(), (reference[rows] ** 2).sum(), rows.size] for rows in blocks])
    wanted = max(round(own.size / float(np.mean(squares[:, 2]))), 1)
    drawn = squares[rng.integers(0, len(blocks), (draws, wanted))].sum(axis=1)
    spread = np.sqrt(drawn[:, 0] / drawn[:, 2]) - np.sqrt(drawn[:, 1] / drawn[:, 2])
    difference = float(np.sqrt(np.mean(own**2)) - np.sqrt(np.mean(reference**2)))
    low, high = np.quantile(spread, [0.025, 0.975])
    return difference, float(low), float(high)
