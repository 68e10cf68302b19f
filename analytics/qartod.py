"""The tests of the QARTOD manuals as vectorised kernels: one function a test, flags of one shape.

Flags are 1 good, 2 not evaluated, 3 suspect, 4 fail, 9 missing, as uint8 in the order of the samples. A threshold of None switches its
flag off; a threshold of 0 is a threshold. Nothing here changes a value: a flag stands beside it. Times are seconds on any axis.
This file finishes with `combine`.

References: U.S. IOOS, Manual for Real-Time Quality Control of Water Level Data (2021), doi:10.25923/vpsx-dc82, tests 1 to 10;
IOC Manuals and Guides 54 vol. 3 for the flags.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.sampling import Floats

FlagArray = NDArray[np.uint8]
Span = tuple[float | None, float | None]
GOOD, UNKNOWN, SUSPECT, FAIL, MISSING = 1, 2, 3, 4, 9
_SEVERITY = np.array([0, 1, 0, 2, 3, 0, 0, 0, 0, 4], dtype=np.uint8)
"""How much a flag outweighs another, by flag: missing, fail, suspect, good, not evaluated."""


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _finish(flags: FlagArray, missing: NDArray[np.bool_]) -> FlagArray:
    flags[missing] = MISSING
    return flags


def _outside(values: Floats, span: Span) -> NDArray[np.bool_]:
    """Which values lie outside the span? Bounds are inclusive, None = no bound, NaN lies nowhere."""
    low, high = span
    outside = np.zeros(values.size, dtype=np.bool_)
    if low is not None:
        outside |= values < low
    if high is not None:
        outside |= values > high
    return outside


def gross_range(values: ArrayLike, fail_span: Span, suspect_span: Span = (None, None)) -> FlagArray:
    """Test 4: outside what the instrument or the ground can say.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN = missing.
    fail_span, suspect_span : (low, high)
        Inclusive, in the values' unit; None = no bound.

    Returns
    -------
    ndarray of uint8, shape (n,)

    Examples
    --------
    >>> gross_range([5.0, 15.0, 30.0, 51.0], (10, 50), (20, 40)).tolist()
    [4, 3, 1, 4]
    """
    numbers = _floats(values)
    flags = np.full(numbers.shape, GOOD, dtype=np.uint8)
    flags[_outside(numbers, suspect_span)] = SUSPECT
    flags[_outside(numbers, fail_span)] = FAIL
    return _finish(flags, np.isnan(numbers))


def climatology(values: ArrayLike, period: ArrayLike, suspect_spans: ArrayLike, fail_spans: ArrayLike | None = None) -> FlagArray:
    """Test 5: outside what is usual at this time of the year.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN = missing.
    period : array_like of int, shape (n,)
        Which row of the spans stands for each value, e.g. the month less one; a negative number = none does.
    suspect_spans, fail_spans : array_like, shape (periods, 2)
        Inclusive; NaN = no bound. A period without any bound is not evaluated.
    """
    numbers, index = _floats(values), np.asarray(period, dtype=np.intp)
    suspect = _floats(suspect_spans)
    fail = np.full_like(suspect, np.nan) if fail_spans is None else _floats(fail_spans)
    known = np.asarray(np.isfinite(suspect).any(axis=1) | np.isfinite(fail).any(axis=1))
    flags = np.where((index >= 0) & known[index], GOOD, UNKNOWN).astype(np.uint8)
    judged = flags == GOOD
    for spans, flag in ((suspect, SUSPECT), (fail, FAIL)):
        low, high = spans[index, 0], spans[index, 1]
        flags[judged & ((numbers < low) | (numbers > high))] = flag
    return _finish(flags, np.isnan(numbers))


def spike(
    values: ArrayLike,
    suspect_threshold: float | None,
    fail_threshold: float | None = None,
    method: Literal["average", "differential"] = "average",
) -> FlagArray:
    """Test 6: a single value that stands out from both its neighbours.

    Parameters
    ----------
    values : array_like, shape (n,)
        In time order; NaN = missing.
    suspect_threshold, fail_threshold : float or None
        In the values' unit.
    method : {"average", "differential"}
        Departure from the mean of both neighbours, or the smaller one of both steps where they point apart.

    Returns
    -------
    ndarray of uint8, shape (n,)
        First and last value, and those beside a missing one, are not evaluated.

    Examples
    --------
    >>> spike([10.0, 12.0, 999.99, 13.0, 15.0, 40.0, 9.0, 9.0], 25, 50).tolist()
    [2, 4, 4, 4, 1, 3, 1, 2]
    """
    numbers = _floats(values)
    departure = np.full(numbers.shape, np.nan)
    if numbers.size > 2:
        if method == "average":
            departure[1:-1] = np.abs(numbers[1:-1] - (numbers[:-2] + numbers[2:]) / 2.0)
        else:
            before, after = np.diff(numbers)[:-1], np.diff(numbers)[1:]
            both = np.minimum(np.abs(before), np.abs(after))
            departure[1:-1] = np.where(before * after < 0.0, both, np.where(np.isnan(before * after), np.nan, 0.0))
    flags = np.full(numbers.shape, GOOD, dtype=np.uint8)
    if suspect_threshold is not None:
        flags[departure > suspect_threshold] = SUSPECT
    if fail_threshold is not None:
        flags[departure > fail_threshold] = FAIL
    flags[np.isnan(departure)] = UNKNOWN
    return _finish(flags, np.isnan(numbers))


def rate_of_change(
    values: ArrayLike, seconds: ArrayLike, threshold: float | None, fail_threshold: float | None = None
) -> FlagArray:
    """Test 7: a change from one sample to the next that is too fast.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN = missing; the sample after a missing one is not held against anything.
    seconds : array_like, shape (n,)
        Ascending.
    threshold, fail_threshold : float or None
        Values' unit per second.

    Examples
    --------
    >>> rate_of_change([2.0, 2.1, 9.0], [0, 900, 1800], 5 / 900).tolist()
    [1, 1, 3]
    """
    numbers, time = _floats(values), _floats(seconds)
    flags = np.full(numbers.shape, GOOD, dtype=np.uint8)
    if numbers.size > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.abs(np.diff(numbers) / np.diff(time))
        if threshold is not None:
            flags[1:][rate > threshold] = SUSPECT
        if fail_threshold is not None:
            flags[1:][rate > fail_threshold] = FAIL
    return _finish(flags, np.isnan(numbers))


def window_extremes(values: Floats, length: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Least and greatest finite value of the `length` samples that end at each sample; inf and -inf where there is none.

    Windows of any length are covered by two overlapping blocks of a power of two, so the cost is n log(longest).
    """
    at = np.arange(values.size)
    low = np.where(np.isnan(values), np.inf, values)
    high = np.where(np.isnan(values), -np.inf, values)
    least, greatest = low.copy(), high.copy()
    width = 1
    longest = int(length.max(initial=1))
    while True:
        rows = at[(length >= width) & (length < 2 * width)]
        first = rows - length[rows] + width
        least[rows] = np.minimum(low[rows], low[first])
        greatest[rows] = np.maximum(high[rows], high[first])
        if 2 * width > longest:
            return least, greatest
        low[width:] = np.minimum(low[width:], low[:-width])
        high[width:] = np.maximum(high[width:], high[:-width])
        # Blocks that begin before the first sample are never asked for: no window is longer than its past.
        width *= 2


def flat_line(
    values: ArrayLike,
    seconds: ArrayLike,
    suspect_threshold_s: float | None,
    fail_threshold_s: float | None = None,
    tolerance: float = 0.0,
) -> FlagArray:
    """Test 8: the same value for too long, which a stuck float, a dead logger or a frozen display gives.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN = missing: stepped over within a window.
    seconds : array_like, shape (n,)
        Ascending; the windows hold threshold / median interval samples and one more.
    suspect_threshold_s, fail_threshold_s : float or None
        How long a value may stand.
    tolerance : float
        Range of a window from which it is not flat; 0 = only equal values are.

    Examples
    --------
    >>> flat_line([5, 5, 5, 5, 5], [0, 1, 2, 3, 4], 3, 5, 0.1).tolist()
    [1, 1, 1, 3, 3]
    """
    numbers, time = _floats(values), _floats(seconds)
    flags = np.full(numbers.shape, GOOD, dtype=np.uint8)
    if numbers.size > 1:
        interval = float(np.median(np.diff(time[: numbers.size])))
        for threshold, flag in ((suspect_threshold_s, SUSPECT), (fail_threshold_s, FAIL)):
            if threshold is not None and interval > 0.0:
                flags[_flat(numbers, int(threshold // interval), tolerance)] = flag
    return _finish(flags, np.isnan(numbers))


def _flat(values: Floats, count: int, tolerance: float) -> NDArray[np.bool_]:
    flat = np.zeros(values.size, dtype=np.bool_)
    if count >= values.size:
        return flat
    least, greatest = window_extremes(values, np.minimum(np.arange(values.size) + 1, count + 1))
    extent = greatest[count:] - least[count:]
    flat[count:] = (extent < tolerance) if tolerance > 0.0 else (extent == 0.0)
    return flat


def attenuated_signal(
    values: ArrayLike,
    seconds: ArrayLike,
    suspect_threshold: float | None,
    fail_threshold: float | None,
    *,
    test_period_s: float | None = None,
    min_samples: int | None = None,
    min_period_s: float | None = None,
    statistic: Literal["std", "range"] = "std",
) -> FlagArray:
    """Test 9: a signal that moves too little, such as a well whose screen is clogged or a stilling well that is blocked.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN = missing.
    seconds : array_like, shape (n,)
        Ascending.
    suspect_threshold, fail_threshold : float or None
        Least spread, in the values' unit.
    test_period_s : float or None
        Length of the window that ends at each sample (its beginning exclusive); None = the whole record is one window.
    min_samples, min_period_s
        What a window must hold to be judged; else it is not evaluated. `min_samples` goes before.
    statistic : {"std", "range"}
        Standard deviation, or greatest less least. In windows the deviation is the sample's (n - 1), over the whole record the
        population's.
    """
    numbers, time = _floats(values), _floats(seconds)
    flags = np.full(numbers.shape, GOOD, dtype=np.uint8)
    missing = np.isnan(numbers)
    if numbers.size == 0 or missing.all():
        return _finish(flags, missing)
    if test_period_s is None:
        kept = numbers[~missing]
        spread = np.full(numbers.shape, np.std(kept) if statistic == "std" else np.ptp(kept))
    else:
        needed = 1 if min_samples is None else min_samples
        if min_samples is None and min_period_s is not None:
            needed = int(min_period_s / float(np.median(np.diff(time))))
        spread = _moving_spread(numbers, time, test_period_s, needed, statistic)
    for threshold, flag in ((suspect_threshold, SUSPECT), (fail_threshold, FAIL)):
        if threshold is not None:
            flags[spread < threshold] = flag
    flags[np.isnan(spread)] = UNKNOWN
    return _finish(flags, missing)


def _moving_spread(values: Floats, seconds: Floats, period_s: float, needed: int, statistic: str) -> Floats:
    """Spread of the finite values in (t - period, t], NaN where there are fewer than needed."""
    end = np.arange(values.size) + 1
    length = end - np.searchsorted(seconds, seconds - period_s, side="right")
    finite = ~np.isnan(values)
    count = _moving_sum(finite.astype(np.float64), end, length)
    if statistic == "range":
        least, greatest = window_extremes(values, length)
        spread = np.where(count > 0, greatest - least, np.nan)
    else:
        centred = np.where(finite, values - float(np.median(values[finite])), 0.0)
        total, square = _moving_sum(centred, end, length), _moving_sum(centred**2, end, length)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (square - total**2 / count) / (count - 1.0)
        spread = np.where(count > 1, np.sqrt(np.maximum(variance, 0.0)), np.nan)
    return np.where(count >= needed, spread, np.nan)


def _moving_sum(values: Floats, end: NDArray[np.intp], length: NDArray[np.intp]) -> Floats:
    total = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray(total[end] - total[end - length])


def location(
    longitude_deg: ArrayLike, latitude_deg: ArrayLike, box: tuple[float, float, float, float] = (-180, -90, 180, 90)
) -> FlagArray:
    """Test 3: a position outside the box (west, south, east, north), or half a position.

    Examples
    --------
    >>> location([80.0, -78.5, 500.5], [float("nan"), 50.0, -60.0]).tolist()
    [4, 1, 4]
    """
    east, north = _floats(longitude_deg), _floats(latitude_deg)
    half = np.isnan(east) ^ np.isnan(north)
    flags = np.full(east.shape, GOOD, dtype=np.uint8)
    flags[half | _outside(east, (box[0], box[2])) | _outside(north, (box[1], box[3]))] = FAIL
    return _finish(flags, np.isnan(east) & np.isnan(north))


def density_inversion(
    density: ArrayLike, depth: ArrayLike, suspect_threshold: float | None, fail_threshold: float | None = None
) -> FlagArray:
    """Test of profiles: density that falls with depth by more than the (negative) thresholds, e.g. in a log of a brine well.

    Parameters
    ----------
    density, depth : array_like, shape (n,)
        In the order of the cast, down or up; NaN = missing. Both samples of an inversion are flagged, the sample after a missing
        one is missing its partner and so is missing too.
    suspect_threshold, fail_threshold : float or None
        Change of density in the direction of depth, in the densities' unit.
    """
    rho, z = _floats(density), _floats(depth)
    flags = np.full(rho.shape, GOOD, dtype=np.uint8)
    missing = np.isnan(rho) | np.isnan(z)
    if rho.size < 2:
        flags[:] = UNKNOWN
        return _finish(flags, missing)
    change = np.sign(np.diff(z)) * np.diff(rho)
    for threshold, flag in ((suspect_threshold, SUSPECT), (fail_threshold, FAIL)):
        if threshold is not None:
            inverted = change < threshold
            flags[:-1][inverted] = flag
            flags[1:][inverted] = flag
    missing[1:] |= np.isnan(change)
    return _finish(flags, missing)


def timing_gap(last_seconds: float | None, now_seconds: float, limit_s: float) -> int:
    """Test 1: has the newest observation come in time? Fail when it is older than the limit, missing when none ever came.

    Examples
    --------
    >>> timing_gap(0.0, 7200.0, 3600.0)
    4
    """
    if last_seconds is None:
        return MISSING
    return FAIL if now_seconds - last_seconds > limit_s else GOOD


def combine(flags: Iterable[FlagArray]) -> FlagArray:
    """Return the gravest flag of several tests: missing, fail, suspect, good, not evaluated.

    Examples
    --------
    >>> combine([np.array([1, 2, 3], dtype=np.uint8), np.array([2, 2, 4], dtype=np.uint8)]).tolist()
    [1, 2, 4]
    """
    parts = list(flags)
    gravest = parts[0].copy()
    for part in parts[1:]:
        worse = _SEVERITY[part] > _SEVERITY[gravest]
        gravest[worse] = part[worse]
    return gravest
