"""Does a sensor drift away from its neighbours? Ground and water move together over a few kilometres; a sensor that ages moves alone.

The difference of daily values from the median of the neighbours is cut into blocks, and a line is laid through the blocks' medians: what
is left over tells how sure its slope is, whatever the days have in common with each other. What water itself does looks the same: where somebody
pumps more or less nearby, or what parts follows the level, nobody can tell. This file finishes with `drift_of`.

References: WMO-No. 8 (2021) part V chapter 1 (comparison with neighbours); Student (1908), doi:10.1093/biomet/6.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats

BLOCKS = 6
T_975 = 2.7764451051977987
"""97.5 % quantile of Student's t with `BLOCKS - 2` degrees of freedom."""
T_975_BESIDE = 3.1824463052842638
"""The same with one more: a second regressor beside time."""
LEAST_NEIGHBOURS = 2
LEAST_CHANGE = 0.1
"""Pumping that differs by less of its mean between blocks is the same."""


class DriftState(StrEnum):
    """Three answers; without neighbours nobody can tell a sensor from what it measures."""

    STEADY = "steady"
    DRIFTING = "drifting"
    CANNOT_TELL = "cannot_tell"


class DriftDoubt(StrEnum):
    """Why nobody can tell."""

    FEW_NEIGHBOURS = "few_neighbours"
    FEW_DAYS = "few_days"
    SCATTER = "scatter"
    PUMPING = "pumping"
    FOLLOWS = "follows"


@dataclass(frozen=True)
class SensorDrift:
    """How a sensor moves against its neighbours; rate and its 95 % half-width per 30 days in the unit of the values, None = not known."""

    state: DriftState
    rate_per_30d: float | None
    half_width: float | None
    neighbours: int
    doubt: DriftDoubt | None = None


def drift_of(
    days: Floats,
    own: Floats,
    neighbours: NDArray[np.float64],
    limit_per_30d: float,
    *,
    pumping: NDArray[np.float64] | None = None,
    levels: NDArray[np.float64] | None = None,
    least_days: int = 30,
) -> SensorDrift:
    """Hold a sensor against its neighbours.

    Parameters
    ----------
    days : ndarray, shape (n,)
        Ascending, in days.
    own : ndarray, shape (n,)
        Daily values; NaN = none. Gaps stay gaps.
    neighbours : ndarray, shape (n, k)
        Those of the neighbours, in the same unit.
    limit_per_30d : float
        Drift that nobody minds, per 30 days.
    pumping : ndarray, shape (n, p)
        Daily means of what is taken out or put in nearby, each column in a unit of its own; one without a value is not known, never 0.
    levels : ndarray, shape (n, m)
        Daily means of what the value may follow, such as the water level of the own well.
    least_days : int
        Fewest days with own value and `LEAST_NEIGHBOURS` neighbours, and fewest days that they must span.

    Returns
    -------
    SensorDrift
        Drifting where the whole 95 % interval is beyond the limit, steady where it is within, else nobody can tell. What would be drifting
        is not told of where pumping nearby changed or is not known, or where the interval beside a level reaches the limit.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange(90.0)
    >>> tide = np.sin(days / 5.0)
    >>> others = np.stack([tide, tide + 1.0, tide - 2.0], axis=1)
    >>> drift_of(days, tide + 0.01 * days, others, 0.1).state
    <DriftState.DRIFTING: 'drifting'>
    >>> drift_of(days, tide + 7.0, others, 0.1).state
    <DriftState.STEADY: 'steady'>
    >>> more_and_more = np.linspace(100.0, 160.0, 90)[:, None]
    >>> drift_of(days, tide + 0.01 * days, others, 0.1, pumping=more_and_more).doubt
    <DriftDoubt.PUMPING: 'pumping'>
    """
    told = np.isfinite(neighbours)
    usable = np.isfinite(own) & (told.sum(axis=1) >= LEAST_NEIGHBOURS)
    count = int(told[usable].any(axis=0).sum()) if usable.any() else 0
    if count < LEAST_NEIGHBOURS:
        return SensorDrift(DriftState.CANNOT_TELL, None, None, count, DriftDoubt.FEW_NEIGHBOURS)
    if usable.sum() < least_days or np.ptp(days[usable]) < least_days:
        return SensorDrift(DriftState.CANNOT_TELL, None, None, count, DriftDoubt.FEW_DAYS)
    at = days[usable]
    # Each neighbour about its own level, so that one that is silent for a while moves the median of the others by nothing.
    levelled = neighbours[usable] - np.nanmedian(np.where(told[usable].any(axis=0), neighbours[usable], 0.0), axis=0)
    difference = own[usable] - np.nanmedian(levelled, axis=1)
    blocks = np.array_split(np.arange(at.size), BLOCKS)
    x = np.array([at[block].mean() for block in blocks])
    y = np.array([np.median(difference[block]) for block in blocks])
    rate, half = (30.0 * part for part in _line(x, y))
    if abs(rate) + half < limit_per_30d:
        return SensorDrift(DriftState.STEADY, rate, half, count)
    doubt = None
    if abs(rate) - half <= limit_per_30d:
        doubt = DriftDoubt.SCATTER
    elif any(_may_change(column[usable], blocks) for column in _columns(pumping)):
        doubt = DriftDoubt.PUMPING
    elif any(_is_excused(x, y, column[usable], blocks, limit_per_30d) for column in _columns(levels)):
        doubt = DriftDoubt.FOLLOWS
    return SensorDrift(DriftState.DRIFTING if doubt is None else DriftState.CANNOT_TELL, rate, half, count, doubt)


def _columns(table: NDArray[np.float64] | None) -> Sequence[Floats]:
    return () if table is None else list(table.T)


def _may_change(values: Floats, blocks: Sequence[NDArray[np.intp]]) -> bool:
    """Does what is pumped differ between blocks by more than its days scatter, or is it not known in one of them?"""
    parts = [values[block][np.isfinite(values[block])] for block in blocks]
    if any(part.size == 0 for part in parts):
        return True
    means = np.array([part.mean() for part in parts])
    scatter = float(np.mean([part.std() / np.sqrt(part.size) for part in parts]))
    return bool(np.ptp(means) > max(LEAST_CHANGE * float(np.abs(means).mean()), 4.0 * scatter))


def _is_excused(x: Floats, y: Floats, values: Floats, blocks: Sequence[NDArray[np.intp]], limit_per_30d: float) -> bool:
    """Does the drift beside what the value may follow reach down to the limit? A level that itself only rises or falls excuses it."""
    parts = [values[block][np.isfinite(values[block])] for block in blocks]
    if any(part.size == 0 for part in parts):
        return False  # nothing is known of it
    beside = np.array([np.median(part) for part in parts])
    design = np.column_stack([np.ones_like(x), x - x.mean(), beside - beside.mean()])
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    if rank < design.shape[1]:
        return bool(np.ptp(beside) > 0.0)  # it cannot be told from time; one that stands still explains nothing
    residual = y - design @ solution
    spread = np.linalg.inv(design.T @ design)[1, 1]
    half = T_975_BESIDE * float(np.sqrt(residual @ residual / (x.size - design.shape[1]) * spread))
    return bool(abs(float(solution[1])) - half <= limit_per_30d / 30.0)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope of the least-squares line and its 95 % half-width from the residuals."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residual = y - y.mean() - slope * centred
    return slope, T_975 * float(np.sqrt(residual @ residual / (x.size - 2) / spread))
