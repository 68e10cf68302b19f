"""Time axes, usable samples, gaps and daily values.

Every analytic begins here: times become decimal years of 365.25 days, samples that quality control
refused are left out, and faster series are brought to one value a day without aliasing the tide.
Gaps stay gaps: nothing in this file ever invents a sample between two others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

SECONDS_PER_YEAR = 365.25 * 86400.0
DAYS_PER_YEAR = 365.25
_EPOCH_2000 = np.datetime64("2000-01-01T00:00:00", "us")
_USABLE_QUALITY = (1, 2)
"""QARTOD 1 good and 2 unknown; 3 suspect, 4 fail and 9 missing take no part in a fit."""

M2_PERIOD_H = 12.4206012
"""Principal lunar semi-diurnal tide, hours (Doodson 255.555)."""


@dataclass(frozen=True)
class Samples:
    """The observations of one datastream as arrays of equal length, in time order.

    Parameters
    ----------
    time : ndarray of datetime64[us], shape (n,)
        Phenomenon times, UTC.
    value : ndarray of float, shape (n,)
        Results in the datastream's unit.
    sigma : ndarray of float, shape (n,), optional
        One standard deviation in the same unit; NaN where unknown.
    quality : ndarray of uint8, shape (n,), optional
        QARTOD flags; absent means 2 (unknown) for all.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """

    time: Times
    value: Floats
    sigma: Floats | None = None
    quality: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        time = np.asarray(self.time).astype("datetime64[us]")
        value = np.asarray(self.value, dtype=np.float64)
        sigma = None if self.sigma is None else np.asarray(self.sigma, dtype=np.float64)
        quality = None if self.quality is None else np.asarray(self.quality, dtype=np.uint8)
        for other in (value, sigma, quality):
            if other is not None and other.shape != time.shape:
                raise ValueError(f"arrays of unlike length: {time.shape} and {other.shape}")
        order = np.argsort(time, kind="stable")
        if not np.array_equal(order, np.arange(time.size)):
            time, value = time[order], value[order]
            sigma = None if sigma is None else sigma[order]
            quality = None if quality is None else quality[order]
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "sigma", sigma)
        object.__setattr__(self, "quality", quality)

    def __len__(self) -> int:
        return int(self.time.size)

    def where(self, keep: NDArray[np.bool_]) -> Samples:
        """Return the samples that a mask of shape (n,) keeps."""
        return Samples(
            self.time[keep],
            self.value[keep],
            None if self.sigma is None else self.sigma[keep],
            None if self.quality is None else self.quality[keep],
        )

    def usable(self) -> Samples:
        """Return the finite samples whose quality is good or unknown, one a time stamp (the last wins)."""
        keep = np.isfinite(self.value) & ~np.isnat(self.time)
        if self.quality is not None:
            keep &= np.isin(self.quality, _USABLE_QUALITY)
        if len(self) > 1:
            keep[:-1] &= ~((self.time[1:] == self.time[:-1]) & keep[1:])
        return self.where(keep)


@dataclass(frozen=True)
class Gap:
    """A stretch without samples: the last sample before it and the first after it."""

    start: np.datetime64
    end: np.datetime64
    duration_d: float


def decimal_years(time: Times) -> Floats:
    """Decimal years of 365.25 days counted from 2000-01-01T00:00Z, the Nevada Geodetic Laboratory's axis.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)

    Returns
    -------
    ndarray of float, shape (n,)
        Years.

    Examples
    --------
    >>> import numpy as np
    >>> decimal_years(np.array(["2018-01-01"], "datetime64[us]")).round(4).tolist()
    [2018.0014]
    """
    since = (np.asarray(time).astype("datetime64[us]") - _EPOCH_2000).astype(np.float64) * 1e-6
    return np.asarray(2000.0 + since / SECONDS_PER_YEAR, dtype=np.float64)


def from_decimal_years(years: ArrayLike) -> Times:
    """Inverse of :func:`decimal_years`, to the microsecond.

    Examples
    --------
    >>> from_decimal_years([2000.0]).astype("datetime64[s]").tolist()[0].isoformat()
    '2000-01-01T00:00:00'
    """
    seconds = (np.asarray(years, dtype=np.float64) - 2000.0) * SECONDS_PER_YEAR
    offset = np.round(seconds * 1e6).astype("int64").astype("timedelta64[us]")
    return np.asarray(_EPOCH_2000 + offset)


def day_epochs(time: Times, decimals: int = 4) -> Floats:
    """Decimal years of the day's start, rounded as the tenv3 files round them.

    MIDAS divides by the separation of two epochs, so that its published figures can only be met on the
    published axis: 2000 + (MJD - 51544) / 365.25 to four decimals.
    """
    return np.round(decimal_years(np.asarray(time).astype("datetime64[D]")), decimals)


def typical_interval_d(time: Times) -> float:
    """Median separation of neighbouring samples in days; NaN with fewer than two."""
    if len(time) < 2:
        return float("nan")
    return float(np.median(np.diff(time).astype("timedelta64[us]").astype(np.float64)) / 86400e6)


def span_years(time: Times) -> float:
    """Time from the first to the last sample in years of 365.25 days; 0 with fewer than two."""
    if len(time) < 2:
        return 0.0
    return float((time[-1] - time[0]) / np.timedelta64(1, "us")) * 1e-6 / SECONDS_PER_YEAR


def find_gaps(time: Times, factor: float = 3.0) -> list[Gap]:
    """Stretches longer than `factor` typical intervals between neighbouring samples."""
    interval = typical_interval_d(time)
    if not np.isfinite(interval) or interval <= 0.0:
        return []
    steps_d = np.diff(time).astype("timedelta64[us]").astype(np.float64) / 86400e6
    return [Gap(time[i], time[i + 1], float(steps_d[i])) for i in np.flatnonzero(steps_d > factor * interval)]


def _moving_mean(values: Floats, weights: Floats, window: int) -> tuple[Floats, Floats]:
    """Centred moving mean of `values` where `weights` is 1, and the share of the window that is present.

    An even window is centred by half weights at its two ends, so that no phase is added.
    """
    kernel = np.ones(window) if window % 2 else np.concatenate(([0.5], np.ones(window - 1), [0.5]))
    if kernel.size > values.size:
        return np.full(values.size, np.nan), np.zeros(values.size)
    total = np.convolve(values * weights, kernel, mode="same")
    share = np.convolve(weights, kernel, mode="same") / kernel.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / (share * kernel.sum())
    return mean, share


def remove_tide(samples: Samples, minimum_coverage: float = 0.9) -> Samples:
    """Low-pass a sub-daily series with Godin's filter (24, 24 and 25 h running means).

    Parameters
    ----------
    samples : Samples
        Interval of at most 6 h; a slower series is returned unchanged.
    minimum_coverage : float
        Share of each window that must hold samples; elsewhere there is no output (gaps are not bridged).

    Returns
    -------
    Samples
        The filtered values at the original times that lie on the regular grid.

    References
    ----------
    Godin, G. (1972), The Analysis of Tides. The gain at M2 (12.42 h) is below 0.0005, at K1 below 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.datetime64("2024-01-01", "us") + np.arange(24 * 20) * np.timedelta64(1, "h")
    >>> tide = 0.2 * np.cos(2 * np.pi * np.arange(24 * 20) / M2_PERIOD_H)
    >>> bool(np.abs(remove_tide(Samples(t, tide)).value).max() < 0.002)
    True
    """
    interval_h = typical_interval_d(samples.time) * 24.0
    if not np.isfinite(interval_h) or interval_h <= 0.0 or interval_h > 6.0:
        return samples
    us = interval_h * 3600e6
    cell = np.rint((samples.time - samples.time[0]).astype(np.float64) / us).astype(np.int64)
    if cell[-1] > 50 * len(samples):
        return samples
    size = int(cell[-1]) + 1
    values, weights = np.zeros(size), np.zeros(size)
    values[cell] = samples.value - samples.value[0]
    weights[cell] = 1.0
    for hours in (24.0, 24.0, 25.0):
        window = max(round(hours / interval_h), 1)
        smoothed, share = _moving_mean(values, weights, window)
        weights = ((share >= minimum_coverage) & np.isfinite(smoothed)).astype(np.float64)
        values = np.where(weights > 0.0, smoothed, 0.0)
    keep = weights[cell] > 0.0
    return Samples(samples.time[keep], values[cell][keep] + samples.value[0])


def resample_daily(
    samples: Samples,
    statistic: str = "median",
    minimum_coverage: float = 0.5,
    zone_offset_h: float = 0.0,
) -> Samples:
    """One value a local day, stamped at the day's start in UTC; days too thinly sampled are left out.

    Parameters
    ----------
    samples : Samples
        Any interval. A series of a day or slower is returned with its own times.
    statistic : {"median", "mean", "last", "sum"}
        "last" suits counters, "sum" amounts per interval.
    minimum_coverage : float
        Share of the samples that a full day has at the typical interval.
    zone_offset_h : float
        Hours by which the local day begins before the UTC day (8 for Asia/Shanghai).

    Returns
    -------
    Samples
        Sigma is the sample's standard error where at least three samples make a day's mean or median.

    Raises
    ------
    ValueError
        For an unknown statistic.
    """
    if statistic not in {"median", "mean", "last", "sum"}:
        raise ValueError(f"unknown statistic {statistic!r}")
    interval = typical_interval_d(samples.time)
    if not np.isfinite(interval) or interval > 0.75:
        return samples
    shift = np.timedelta64(round(zone_offset_h * 3600), "s")
    day = (samples.time + shift).astype("datetime64[D]")
    first = np.flatnonzero(np.concatenate(([True], day[1:] != day[:-1])))
    last = np.concatenate((first[1:], [len(samples)]))
    counts = last - first
    keep = counts >= minimum_coverage / max(interval, 1e-9)
    if statistic == "sum":
        values = np.add.reduceat(samples.value, first)
    elif statistic == "last":
        values = samples.value[last - 1]
    elif statistic == "mean":
        values = np.add.reduceat(samples.value, first) / counts
    else:
        values = np.array([np.median(samples.value[a:b]) for a, b in zip(first, last, strict=True)])
    stamps: Times = np.asarray(day[first].astype("datetime64[us]") - shift, dtype="datetime64[us]")
    return Samples(stamps[keep], np.asarray(values, dtype=np.float64)[keep])


def daily(samples: Samples, statistic: str = "median", zone_offset_h: float = 0.0) -> Samples:
    """Bring a series to at most one value a day, low-passing the tide first where it is sampled.

    A series that is sub-daily at 6 h or faster passes Godin's filter before the day's mean is taken;
    where gaps leave the filter nothing, the plain daily statistic is used.
    """
    clean = samples.usable()
    if len(clean) < 3 or typical_interval_d(clean.time) > 0.75:
        return clean
    if statistic in {"sum", "last"}:
        return resample_daily(clean, statistic, zone_offset_h=zone_offset_h)
    filtered = remove_tide(clean)
    source = filtered if len(filtered) >= len(clean) // 2 else clean
    return resample_daily(source, statistic, zone_offset_h=zone_offset_h)
