"""MIDAS: the median trend that steps, seasons and outliers hardly move.

Pairs of epochs one year apart give slopes; their median, trimmed once at two robust standard deviations,
is the velocity. The selection of pairs follows the published program: each epoch is matched with the one
that lies a year ahead within 0.001 a, else with the next one later than a year that has not served
yet; the same is done backwards in time so that the estimator is symmetric. Pairs never cross a given
step. This file holds that estimator alone, vectorised, with true medians.

References: Blewitt, Kreemer, Hammond and Gazeaux (2016), doi:10.1002/2015JB012552.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

TOLERANCE_A = 0.001
_MAD_TO_SIGMA = 1.4826
_MEDIAN_ERROR = 1.2533
_REALISM = 3.0


@dataclass(frozen=True)
class MidasResult:
    """Velocity of one component.

    Attributes
    ----------
    rate : float
        Unit of the values per year.
    rate_sigma : float or None
        Unit of the values per year; None where the slopes have no spread to take it from (a single pair).
    intercept : float
        Median level at the first epoch.
    n_used, n_pairs : int
        Epochs that are in at least one pair, and pairs.
    outlier_fraction : float
        Share of the pairs beyond two robust standard deviations.
    pair_sigma : float
        Robust standard deviation of the slopes that were kept, per year.
    """

    rate: float
    rate_sigma: float | None
    intercept: float
    n_epochs: int
    n_used: int
    n_pairs: int
    outlier_fraction: float
    pair_sigma: float


def _select_forward(years: Floats, steps: Floats, tolerance: float) -> tuple[Indices, Indices]:
    """Pairs (i, j) found going forward in time; indices count from 0."""
    m = years.size
    starts = np.flatnonzero(~(years > years[-1] + tolerance - 1.0))
    barrier_of = np.full(m, np.inf)
    if steps.size:
        # The barrier of an epoch is the first step that it does not lie past: t < step + tolerance.
        following = np.searchsorted(steps + tolerance, years, side="right")
        known = following < steps.size
        barrier_of[known] = steps[following[known]]
        starts = starts[~(years[starts] > barrier_of[starts] + tolerance - 1.0)]
    # The first epoch at which the separation is not below one year by more than the tolerance.
    ahead = np.searchsorted(years, years[starts] + 1.0 - 2.0 * tolerance, side="left")
    ahead = np.maximum(ahead, starts + 1)
    for _ in range(m):
        inside = ahead < m
        short = np.zeros(ahead.size, dtype=bool)
        short[inside] = (years[ahead[inside]] - years[starts[inside]]) - 1.0 < -tolerance
        if not short.any():
            break
        ahead[short] += 1
    reachable = ahead < m
    starts, ahead = starts[reachable], ahead[reachable]
    barrier = barrier_of[starts]
    allowed = ~(years[ahead] > barrier - tolerance)
    exact = allowed & ((years[ahead] - years[starts]) - 1.0 < tolerance)
    partner = np.where(exact, ahead, -1)
    cursor = 0
    for position in np.flatnonzero(~exact):
        j = int(ahead[position])
        cursor = max(cursor, j)
        if not allowed[position]:
            continue
        if years[cursor] > barrier[position] - tolerance:
            # The next unused epoch lies behind the step: begin again with the nearest one that does not.
            cursor = j + 1
            if cursor >= m or years[cursor] > barrier[position] - tolerance:
                cursor = min(cursor, m - 1)
                continue
        partner[position] = cursor
        cursor = 0 if cursor == m - 1 else cursor + 1
    found = partner >= 0
    return starts[found].astype(np.int64), partner[found].astype(np.int64)


def select_pairs(years: ArrayLike, steps: Sequence[float] = (), tolerance: float = TOLERANCE_A) -> tuple[Indices, Indices]:
    """Pairs of epochs nominally a year apart, forward and backward in time.

    Parameters
    ----------
    years : array_like, shape (n,)
        Decimal years in ascending order.
    steps : sequence of float
        Decimal years that no pair may cross or touch.
    tolerance : float
        Half-width of the first match around one year, years.

    Returns
    -------
    first, second : ndarray of int, shape (pairs,)
        Indices with ``years[second] > years[first]``; a pair found in both directions counts twice.
    """
    t = np.asarray(years, dtype=np.float64)
    inside = np.sort(np.array([s for s in steps if t.size and t[0] <= s <= t[-1]], dtype=np.float64))
    if t.size < 2:
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing.copy()
    first, second = _select_forward(t, inside, tolerance)
    first_back, second_back = _select_forward(-t[::-1], -inside[::-1], tolerance)
    last = t.size - 1
    return (
        np.concatenate((first, last - second_back)),
        np.concatenate((second, last - first_back)),
    )


def _median_and_spread(slopes: Floats) -> tuple[float, Floats, float]:
    centre = float(np.median(slopes))
    deviation = np.abs(slopes - centre)
    return centre, deviation, _MAD_TO_SIGMA * float(np.median(deviation))


def midas(
    years: ArrayLike,
    values: ArrayLike,
    steps: Sequence[float] = (),
    pairs: tuple[Indices, Indices] | None = None,
) -> MidasResult | None:
    """Median interannual difference adjusted for skewness.

    Parameters
    ----------
    years : array_like, shape (n,)
        Decimal years, ascending.
    values : array_like, shape (n,)
        One component, any unit.
    steps : sequence of float
        Known steps in decimal years; never detected ones.
    pairs : tuple of ndarray, optional
        Result of :func:`select_pairs`, to share it between the components of a station.

    Returns
    -------
    MidasResult or None
        None where no pair exists.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(1200) / 365.25
    >>> result = midas(t, -4.0 * t + 3.0 * np.sin(2 * np.pi * t))
    >>> round(result.rate, 2)
    -4.0
    """
    t = np.asarray(years, dtype=np.float64)
    x = np.asarray(values, dtype=np.float64)
    first, second = select_pairs(t, steps) if pairs is None else pairs
    if first.size == 0:
        return None
    slopes = (x[second] - x[first]) / (t[second] - t[first])
    _, deviation, spread = _median_and_spread(slopes)
    kept = slopes[deviation < 2.0 * spread]
    if kept.size == 0:
        # More than half of the slopes are identical; the comparison "closer than zero" keeps none of them.
        kept = slopes[deviation == 0.0]
    rate, _, pair_sigma = _median_and_spread(kept)
    sigma = _REALISM * _MEDIAN_ERROR * pair_sigma / np.sqrt(kept.size / 4.0)
    used = np.zeros(t.size, dtype=bool)
    used[first] = True
    used[second] = True
    return MidasResult(
        rate=rate,
        # One pair (found forwards and backwards) has no spread: that is no knowledge of the error, not an error of 0.
        rate_sigma=float(sigma) if sigma > 0.0 else None,
        intercept=float(np.median(x - rate * (t - t[0]))),
        n_epochs=int(t.size),
        n_used=int(used.sum()),
        n_pairs=int(first.size),
        outlier_fraction=1.0 - kept.size / slopes.size,
        pair_sigma=pair_sigma,
    )
