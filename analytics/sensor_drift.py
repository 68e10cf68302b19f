"""Does a sensor drift away from its neighbours? Ground and water move together over a few kilometres; a sensor that ages moves alone.

The difference of daily values from the median of the neighbours is cut into blocks, and a line is laid through the blocks' medians: what
is left over tells how sure its slope is, whatever the days have in common with each other. This file finishes with `drift_of`.

References: WMO-No. 8 (2021) part V chapter 1 (comparison with neighbours); Student (1908), doi:10.1093/biomet/6.1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats

BLOCKS = 6
T_975 = 2.7764451051977987
"""97.5 % quantile of Student's t with `BLOCKS - 2` degrees of freedom."""
LEAST_NEIGHBOURS = 2


class DriftState(StrEnum):
    """Three answers; without neighbours nobody can tell a sensor from what it measures."""

    STEADY = "steady"
    DRIFTING = "drifting"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class SensorDrift:
    """How a sensor moves against its neighbours; rate and its 95 % half-width per 30 days in the unit of the values, None = not known."""

    state: DriftState
    rate_per_30d: float | None
    half_width: float | None
    neighbours: int


def drift_of(
    days: Floats, own: Floats, neighbours: NDArray[np.float64], limit_per_30d: float, *, least_days: int = 30
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
    least_days : int
        Fewest days with own value and `LEAST_NEIGHBOURS` neighbours, and fewest days that they must span.

    Returns
    -------
    SensorDrift
        Drifting where the whole 95 % interval is beyond the limit, steady where it is within, else nobody can tell.

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
    """
    told = np.isfinite(neighbours)
    usable = np.isfinite(own) & (told.sum(axis=1) >= LEAST_NEIGHBOURS)
    count = int(told[usable].any(axis=0).sum()) if usable.any() else 0
    if usable.sum() < least_days or np.ptp(days[usable]) < least_days:
        return SensorDrift(DriftState.CANNOT_TELL, None, None, count)
    at = days[usable]
    # Each neighbour about its own level, so that one that is silent for a while moves the median of the others by nothing.
    levelled = neighbours[usable] - np.nanmedian(np.where(told[usable].any(axis=0), neighbours[usable], 0.0), axis=0)
    difference = own[usable] - np.nanmedian(levelled, axis=1)
    blocks = np.array_split(np.arange(at.size), BLOCKS)
    x = np.array([at[block].mean() for block in blocks])
    y = np.array([np.median(difference[block]) for block in blocks])
    slope, sigma = _line(x, y)
    rate, half = 30.0 * slope, 30.0 * T_975 * sigma
    state = DriftState.CANNOT_TELL
    if abs(rate) - half > limit_per_30d:
        state = DriftState.DRIFTING
    elif abs(rate) + half < limit_per_30d:
        state = DriftState.STEADY
    return SensorDrift(state, float(rate), float(half), count)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope of the least-squares line and its sigma from the residuals."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residual = y - y.mean() - slope * centred
    return slope, float(np.sqrt(residual @ residual / (x.size - 2) / spread))
