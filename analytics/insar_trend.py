r"""Mann-Kendall test and Sen slope of many points at once.

The test is the original one with ties (InSAR is delivered in tenths of a millimetre, so ties are common). Where the lag-one
correlation of the residuals is given, the variance of S is widened as Hamed and Rao (1998) do, with the correlations of an AR(1)
series in place of those of the ranks, which 150 noisy epochs do not show one by one.

References: Mann 1945, doi:10.2307/1907187; Kendall 1975; Sen 1968, doi:10.1080/01621459.1968.10480934; Hamed and Rao 1998,
doi:10.1016/S0022-1694(97)00125-X. This file finishes with `trend_test`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
_POINTS_AT_ONCE = 64
"""Points whose pairs are held at once: at 150 epochs six megabytes, which stay in the cache."""

LEAST_VALUES = 4


def trend_test(years: Floats, values: Floats, phi: Floats | None = None) -> dict[str, Floats]:
    """Return `mk_z`, `mk_p` (two-sided) and `sen_slope` (per year) of each column.

    Parameters
    ----------
    years
        Decimal years, increasing, shape (epochs,).
    values
        Shape (epochs, points); NaN = no value. Fewer than four values: NaN.
    phi
        Lag-one correlations, shape (points,); None = the test of independent values.

    Examples
    --------
    >>> found = trend_test(np.arange(6.0), np.array([[1.0], [2], [np.nan], [4], [5], [6]]))
    >>> float(found["sen_slope"][0]), round(float(found["mk_p"][0]), 4)
    (1.0, 0.0275)
    """
    loop = _compiled()
    statistics = pair_statistics if loop is None else loop.pair_statistics
    s, ties, slope = statistics(years, np.ascontiguousarray(values.T, dtype=np.float64))
    n = np.count_nonzero(~np.isnan(values), axis=0)
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18.0
    if phi is not None:
        variance = variance * _widening(phi, n, len(years))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, (s - np.sign(s)) / np.sqrt(variance), 0.0)
    enough = n >= LEAST_VALUES
    unknown = np.nan
    return {
        "mk_z": np.where(enough, z, unknown),
        "mk_p": np.where(enough, 2.0 * ndtr(-np.abs(z)), unknown),
        "sen_slope": np.where(enough, slope, unknown),
    }


def _compiled() -> ModuleType | None:
    """Return the compiled pass, or None where there is no compiler: numba follows a new Python months later."""
    try:
        from analytics import insar_pairs
    except ImportError:
        return None
    return insar_pairs


def pair_statistics(years: Floats, rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the same, to the bit, as `insar_pairs.pair_statistics`, in five times the processor time."""
    points = len(rows)
    s, slope = np.empty(points), np.empty(points)
    earlier, later = np.triu_indices(len(years), 1)
    spans = years[later] - years[earlier]
    for start in range(0, points, _POINTS_AT_ONCE):
        part = slice(start, min(start + _POINTS_AT_ONCE, points))
        pairs = np.take(rows[part], later, axis=1) - np.take(rows[part], earlier, axis=1)
        s[part] = np.count_nonzero(pairs > 0, axis=1) - np.count_nonzero(pairs < 0, axis=1)
        pairs /= spans
        slope[part] = _medians(pairs)
    return s, _ties(rows), slope


def _medians(pairs: Floats) -> Floats:
    """Return the median of each row's numbers, partly sorting `pairs` in place.

    NaN become as many -inf and +inf as bring every row's middle to the same place, so that one partition serves all rows.
    """
    width = pairs.shape[1]
    if width == 0:
        return np.full(len(pairs), np.nan)
    middle = (width - 1) // 2
    absent = np.isnan(pairs)
    known = width - np.count_nonzero(absent, axis=1)
    if absent.any():
        below = middle - (known - 1) // 2
        place = np.cumsum(absent, axis=1, dtype=np.int32)
        pairs[absent] = np.inf
        pairs[absent & (place <= below[:, None])] = -np.inf
    pairs.partition(sorted({middle, min(middle + 1, width - 1)}), axis=1)
    lower, upper = pairs[:, middle], pairs[:, min(middle + 1, width - 1)]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known == 0, np.nan, np.where(known % 2 == 1, lower, 0.5 * (lower + upper))))


def _ties(rows: Floats) -> Floats:
    """Return the sum of t(t-1)(2t+5) over the groups of t equal values of each row; NaN are no values."""
    points, width = rows.shape
    ordered = np.sort(rows, axis=1)
    begins = np.ones((points, width), dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]  # every NaN begins a group of its own, of which t = 1 counts nothing
    starts = np.flatnonzero(begins)
    t = np.diff(np.append(starts, points * width)).astype(np.float64)
    return np.asarray(np.bincount(starts // width, weights=t * (t - 1) * (2 * t + 5), minlength=points), dtype=np.float64)


def _widening(phi: Floats, n: npt.NDArray[np.int64], epochs: int) -> Floats:
    """Return by what the variance of S grows under AR(1): ranks of a Gaussian series correlate by 6/π asin(φᵏ/2)."""
    size = n.astype(np.float64)
    lagged = np.where(np.isnan(phi), 0.0, phi)
    power, total = np.ones_like(size), np.zeros_like(size)
    for lag in range(1, max(epochs - 2, 1)):
        power = power * lagged
        if power.max(initial=0.0) < 1e-6:
            break
        share = np.maximum(size - lag, 0) * np.maximum(size - lag - 1, 0) * np.maximum(size - lag - 2, 0)
        total += share * (6.0 / np.pi) * np.arcsin(0.5 * power)
    return 1.0 + 2.0 * total / np.maximum(size * (size - 1) * (size - 2), 1.0)
