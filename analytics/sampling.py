"""Time axes, usable samples, gaps and daily values.

Every analytic begins here: times become decimal years of 365.25 days, samples that quality control
refused are left out, and faster series are brought to one value a day without aliasing the tide.
Gaps stay gaps: nothing in this file ever invents a sample between two others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

SECONDS_PER_YEAR = 365.25 * 86400.0
DAYS_PER_YEAR = 365.25
_EPOCH_2000 = np.datetime64("2000-01-01T00:00:00", "us")
_USABLE_QUALITY = (1, 2)
"""QARTOD 1 good and 2 unknown; 3 suspect, 4 fail and 9 missing take no part in a fit."""

MINIMUM_PER_DAY = 1.5
"""Samples a day from which a stretch counts as faster than daily."""

TIDAL_INTERVAL_D = 0.25
"""Longest interval, days, at which a semi-diurnal tide is sampled well enough to be removed."""

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


def local_interval_s(seconds: Floats, half_window: int = 15) -> Floats:
    """Running median of the separations around each separation, so that a change of interval is no anomaly.

    Parameters
    ----------
    seconds : ndarray, shape (n,)
        Ascending times in seconds.
    half_window : int
        Separations on each side.

    Returns
    -------
    ndarray, shape (n - 1,)
        Seconds; at either end of the record the window is the one of the nearest full window.
    """
    steps = np.diff(seconds)
    width = min(2 * half_window + 1, steps.size - 1 + steps.size % 2)
    if width < 3:
        return np.full(steps.size, float(np.median(steps)) if steps.size else np.nan)
    running = np.median(sliding_window_view(steps, width), axis=1)
    return np.asarray(np.pad(running, width // 2, mode="edge"), dtype=np.float64)


def regimes(time: Times, ratio: float = 3.0, half_window: int = 15) -> list[slice]:
    """Parts of a record that were sampled at one interval each.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        Ascending.
    ratio : float
        Another part begins where the local interval is longer or shorter by this factor than where the part began.
    half_window : int
        Separations on each side that the local interval is the median of: shorter bursts make no part of their own.

    Returns
    -------
    list of slice
        Consecutive, covering the record; empty for an empty one.
    """
    if len(time) < 2:
        return [slice(0, len(time))] if len(time) else []
    local = np.maximum(local_interval_s(np.asarray(time).astype("datetime64[us]").astype(np.float64) * 1e-6, half_window), 1e-6)
    begins, anchor = [0], float(local[0])
    for i, interval in enumerate(local.tolist()):
        if interval > ratio * anchor or interval * ratio < anchor:
            begins.append(i + 1 if interval > anchor else i)
            anchor = interval
    ends = [*begins[1:], len(time)]
    return [slice(low, high) for low, high in zip(begins, ends, strict=True) if high > low]


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


def hourly_means(samples: Samples) -> Samples:
    """Average what is faster than hourly into hours, stamped at their first sample, so that bursts weigh no more than hours."""
    hour = samples.time.astype("datetime64[h]")
    first = np.flatnonzero(np.concatenate(([True], hour[1:] != hour[:-1])))
    if first.size == len(samples):
        return samples
    counts = np.diff(np.concatenate((first, [len(samples)])))
    return Samples(samples.time[first], np.add.reduceat(samples.value, first) / counts)


def resample_daily(
    samples: Samples,
    statistic: str = "median",
    minimum_coverage: float = 0.5,
    zone_offset_h: float = 0.0,
) -> Samples:
    """One value a local day, stamped at the day's start in UTC ("last" at its own time); days too thinly sampled are left out.

    Parameters
    ----------
    samples : Samples
        Any interval, also a changing one. Stretches of a day or slower are returned with their own times.
    statistic : {"median", "mean", "last", "sum"}
        "last" suits counters, "sum" amounts per interval.
    minimum_coverage : float
        Share of a day's parts (as many as samples are usual around it) that must hold a sample.
    zone_offset_h : float
        Hours by which the local day begins before the UTC day (8 for Asia/Shanghai).

    Returns
    -------
    Samples
        Days carry no sigma; samples that are kept as they are keep theirs.

    Raises
    ------
    ValueError
        For an unknown statistic.
    """
    if statistic not in {"median", "mean", "last", "sum"}:
        raise ValueError(f"unknown statistic {statistic!r}")
    if len(samples) < 2:
        return samples
    shift = np.timedelta64(round(zone_offset_h * 3600), "s")
    local = samples.time + shift
    day = local.astype("datetime64[D]")
    first = np.flatnonzero(np.concatenate(([True], day[1:] != day[:-1])))
    last = np.concatenate((first[1:], [len(samples)]))
    counts = last - first
    local_s = local_interval_s(samples.time.astype(np.float64) * 1e-6)
    # A record may have been daily first and hourly later: what a whole day holds is judged by the intervals around it.
    usual = 86_400.0 / np.maximum(local_s[np.minimum((first + last) // 2, local_s.size - 1)], 1e-3)
    whole = usual >= MINIMUM_PER_DAY
    keep = whole & (_slots_filled(local, day, first, usual) >= minimum_coverage * usual)
    single = ~whole.repeat(counts)
    if single.all():
        return samples
    if statistic == "sum":
        values = np.add.reduceat(samples.value, first)
    elif statistic == "last":
        values = samples.value[last - 1]
    elif statistic == "mean":
        values = np.add.reduceat(samples.value, first) / counts
    else:
        values = np.array([np.median(samples.value[a:b]) for a, b in zip(first, last, strict=True)])
    # A counter's reading belongs to the moment it was taken: stamped at the day's start it would seem a day's gain too high.
    own_time = samples.time[last - 1]
    stamps: Times = own_time if statistic == "last" else np.asarray(day[first] - shift, dtype="datetime64[us]")
    return concatenated(Samples(stamps[keep], np.asarray(values, dtype=np.float64)[keep]), samples.where(single))


def _slots_filled(local: Times, day: NDArray[np.datetime64], first: NDArray[np.int64], usual: Floats) -> NDArray[np.int64]:
    """Equal parts of each day that hold a sample, as many parts as samples are usual: a burst does not make a day whole."""
    counts = np.diff(np.concatenate((first, [len(local)])))
    share = (local - day).astype("timedelta64[us]").astype(np.float64) / 86400e6
    slot = np.floor(share * np.round(usual).repeat(counts) + 1e-9)
    fresh = np.concatenate(([True], (slot[1:] != slot[:-1]) | (day[1:] != day[:-1])))
    return np.asarray(np.add.reduceat(fresh.astype(np.int64), first))


def concatenated(a: Samples, b: Samples) -> Samples:
    """Both sets of samples in time order; sigmas that one of them lacks are NaN, qualities unknown."""
    if not len(a) or not len(b):
        return a if len(a) else b
    sigma = None
    if a.sigma is not None or b.sigma is not None:
        sigma = np.concatenate([np.full(len(x), np.nan) if x.sigma is None else x.sigma for x in (a, b)])
    quality = None
    if a.quality is not None or b.quality is not None:
        quality = np.concatenate([np.full(len(x), 2, np.uint8) if x.quality is None else x.quality for x in (a, b)])
    return Samples(np.concatenate((a.time, b.time)), np.concatenate((a.value, b.value)), sigma, quality)


def daily(samples: Samples, statistic: str = "median", zone_offset_h: float = 0.0) -> Samples:
    """Bring a series to at most one value a day, low-passing the tide first where it is sampled.

    Each stretch of a record is treated by its own interval: a part at 6 h or faster is averaged to hours and passes
    Godin's filter before the day's mean is taken (where gaps leave the filter less than half, the plain daily
    statistic is used), a part that is daily or slower stays as it is.
    """
    clean = samples.usable()
    if len(clean) < 3:
        return clean
    if statistic in {"sum", "last"}:
        return resample_daily(clean, statistic, zone_offset_h=zone_offset_h)
    even = hourly_means(clean)
    result: Samples | None = None
    for part in regimes(even.time):
        piece = even.where(_mask(part, len(even)))
        if typical_interval_d(piece.time) <= TIDAL_INTERVAL_D:
            filtered = remove_tide(piece)
            piece = filtered if len(filtered) >= len(piece) // 2 else piece
        result = piece if result is None else concatenated(result, piece)
    assert result is not None
    return resample_daily(result, statistic, zone_offset_h=zone_offset_h)


def _mask(part: slice, n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    mask[part] = True
    return mask
