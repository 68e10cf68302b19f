"""Ways to carry a level on: persistence, careful drift, trend, and curves that settle.

Each takes the past of one series and says where the level will be at some times ahead, or None where it does not suit: a curve that
settles is only fitted where the series is seen to settle, a logistic only where it is seen to bend. The curves are linear but for one
or two shape numbers, which are searched for on a grid:

    hyperbolic   s = c0 + c1 u / (u + b)              (s = u / (a + b u) of the settlement calculation)
    exponential  s = c0 + c1 (1 - exp(-u / b))        (what Asaoka's line s_i = p + q s_(i-1) means, q = exp(-d / b))
    logistic     s = c0 + c1 / (1 + exp(-(t - m) / w))

This file finishes with `MODELS`.

References: Tan, Inoue and Lee (1991), doi:10.1061/(ASCE)0733-9410(1991)117:11(1682) (hyperbolic); Asaoka (1978),
doi:10.3208/sandf1972.18.4_87; Gardner and McKenzie (1985), doi:10.1287/mnsc.31.10.1237 (damped trends).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from analytics.sampling import Floats

Model = Callable[[Floats, Floats, Floats], Floats | None]

DRIFT_SHARE = 0.5
"""Part of the smallest agreed slope that is carried on; trends of ground under managed pumping seldom last."""
FADING_SHARE, FADING_A = 0.35, 0.8
"""Part of the mean slope that is carried on beside it, and what is left of its speed after a year."""
USUAL_TIMES = 2.0
"""The mean slope is carried on up to so many times the usual change of a year: a speed never seen before seldom lasts."""
SEASON_SHARE, SEASON_WINDOW_A = 0.5, 8.0
"""Part of the seasonal wave that is carried on, and the newest years from which it is estimated."""
MEAN_WINDOWS_A = (3.0, 5.0, 10.0)
SETTLING = 0.7
"""A series settles where its last third moves at less than this share of the speed of its first third."""
CURVE_SAMPLES = 100
LONG_WINDOWS_A = (3.0, 5.0, 8.0, 10.0)
MEDIAN_WINDOWS_A = (2.5, 4.0, 6.0, 10.0)


def persistence(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """The last value stays.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        Ascending decimal years, any unit.
    ahead : ndarray, shape (k,)
        Years after the last one.

    Returns
    -------
    ndarray, shape (k,), or None
    """
    return np.full(ahead.size, values[-1]) if years.size else None


def careful_drift(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """Half of the smallest slope on which least squares and medians over several windows agree; no drift where they do not.

    See :func:`persistence` for parameters.
    """
    agreed = _agreed_slope(years, values)
    return None if agreed is None else np.asarray(values[-1] + DRIFT_SHARE * agreed * ahead)


def combined(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """Careful drift, a part of the mean slope that fades, and half of the season, from the last value.

    A drift that lasts, one that dies away and none at all are each right at some wells; their mean is never far off. See
    :func:`persistence` for parameters.

    Examples
    --------
    >>> t = np.arange(0.0, 12.0, 1.0 / 12.0)
    >>> round(float(combined(t, 4.0 * t, np.array([1.0]))[0] - 4.0 * t[-1]), 3)
    3.255
    """
    drifting = careful_drift(years, values, ahead)
    if drifting is None:
        return None
    slopes = [slope for window in MEAN_WINDOWS_A if (slope := _seasonal_slope(years, values, window)) is not None]
    changes = np.abs(_yearly_slopes(years, values))
    most = USUAL_TIMES * float(np.median(changes)) if changes.size else np.inf
    fading = float(np.clip(np.mean(slopes), -most, most)) if slopes else 0.0
    reach = (1.0 - FADING_A**ahead) / -np.log(FADING_A)
    return np.asarray(drifting + FADING_SHARE * fading * reach + SEASON_SHARE * _season(years, values, ahead))


def _agreed_slope(years: Floats, values: Floats) -> float | None:
    """The smallest of several slopes, 0 where they differ in sign."""
    if years.size < 4:
        return None
    slopes = [_seasonal_slope(years, values, window) for window in LONG_WINDOWS_A]
    slopes += [_median_slope(years, values, window) for window in MEDIAN_WINDOWS_A]
    known = np.array([slope for slope in slopes if slope is not None])
    if not known.size:
        return None
    return 0.0 if known.min() < 0.0 < known.max() else float(known[np.argmin(np.abs(known))])


def _season(years: Floats, values: Floats, ahead: Floats) -> Floats:
    """Change of the annual and semi-annual wave from the last sample on, beside a level that bends once a year; 0 with few samples."""
    inside = years > years[-1] - SEASON_WINDOW_A
    t, v = years[inside] - years[-1], values[inside]
    span = float(-t[0])
    if span < 3.0 or t.size < 6 * span:
        return np.zeros(ahead.size)
    knots = np.linspace(-span, 0.0, int(span) + 1)
    level = np.maximum(1.0 - np.abs(t[:, None] - knots) / (knots[1] - knots[0]), 0.0)
    wave = np.linalg.lstsq(np.hstack((level, _waves(t))), v - v[-1], rcond=None)[0][knots.size :]
    return np.asarray((_waves(ahead) - _waves(np.zeros(1))) @ wave)


def _waves(t: Floats) -> Floats:
    angle = 2.0 * np.pi * t
    return np.column_stack((np.sin(angle), np.cos(angle), np.sin(2.0 * angle), np.cos(2.0 * angle)))


def trend(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """The slope of the last ten years goes on from the last value. See :func:`persistence` for parameters."""
    slope = _seasonal_slope(years, values, 10.0)
    return None if slope is None else np.asarray(values[-1] + slope * ahead)


def _seasonal_slope(years: Floats, values: Floats, window_a: float) -> float | None:
    """Slope of a line with an annual wave where there are samples enough for one."""
    inside = years > years[-1] - window_a
    t, v = years[inside] - years[-1], values[inside]
    if t.size < 4 or t[-1] - t[0] < 0.5 * min(window_a, years[-1] - years[0] + 1e-9):
        return None
    columns = [np.ones(t.size), t]
    if t.size >= 6 * (t[-1] - t[0]) and t[-1] - t[0] >= 2.0:
        columns += [np.sin(2.0 * np.pi * t), np.cos(2.0 * np.pi * t)]
    return float(np.linalg.lstsq(np.column_stack(columns), v, rcond=None)[0][1])


def _median_slope(years: Floats, values: Floats, window_a: float) -> float | None:
    """Median of the changes over whole years within a window, so that the season drops out."""
    inside = years > years[-1] - window_a
    slopes = _yearly_slopes(years[inside], values[inside])
    return float(np.median(slopes)) if slopes.size >= 2 else None


def _yearly_slopes(t: Floats, v: Floats) -> Floats:
    """Slope from every sample to the one that follows it by a year."""
    later = np.searchsorted(t, t + 1.0 - 0.05)
    pairs = np.flatnonzero(later < t.size)
    pairs = pairs[t[later[pairs]] - t[pairs] < 1.5]
    return np.asarray((v[later[pairs]] - v[pairs]) / (t[later[pairs]] - t[pairs]))


def is_settling(years: Floats, values: Floats) -> bool:
    """Whether the speed of the last third is the first third's sign and clearly less."""
    if years.size < 12 or years[-1] - years[0] < 1.0:
        return False
    edges = years[0] + (years[-1] - years[0]) * np.array([1.0, 2.0]) / 3.0
    first, last = years <= edges[0], years >= edges[1]
    if min(first.sum(), last.sum()) < 4:
        return False
    early = float(np.polyfit(years[first] - edges[0], values[first], 1)[0])
    late = float(np.polyfit(years[last] - edges[1], values[last], 1)[0])
    return early * late > 0.0 and abs(late) < SETTLING * abs(early)


def hyperbolic(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """Hyperbola through the record, begun at its first sample, tied to the last value. See :func:`persistence` for parameters."""
    return _settling_curve(years, values, ahead, lambda u, b: u / (u + b))


def exponential(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """Exponential approach to a final value, tied to the last value. See :func:`persistence` for parameters.

    Examples
    --------
    >>> t = np.arange(0.0, 10.0, 0.1)
    >>> settled = exponential(t, 100.0 * (1.0 - np.exp(-t / 4.0)), np.array([3.0]))
    >>> abs(float(settled[0]) - 96.0) < 0.5
    True
    """
    return _settling_curve(years, values, ahead, lambda u, b: 1.0 - np.exp(-u / b))


def _settling_curve(years: Floats, values: Floats, ahead: Floats, shape: Callable[[Floats, Floats], Floats]) -> Floats | None:
    if not is_settling(years, values):
        return None
    years, values = _thinned(years, values)
    span = float(years[-1] - years[0])
    scales = span * np.geomspace(0.05, 10.0, 60)[:, None]
    rows = shape((years - years[0])[None, :], scales)
    future = shape((span + ahead)[None, :], scales)
    return _best_curve(values, rows, future)


def logistic(years: Floats, values: Floats, ahead: Floats) -> Floats | None:
    """Logistic curve of long subsidence under production, tied to the last value. See :func:`persistence` for parameters.

    None where the best curve has its bend outside the record or less than a fifth of its height before or after it.
    """
    span = float(years[-1] - years[0]) if years.size else 0.0
    if years.size < 16 or span < 5.0:
        return None
    years, values = _thinned(years, values)
    middles, widths = np.meshgrid(years[0] + span * np.linspace(0.1, 1.0, 31), span * np.geomspace(0.03, 0.6, 24))
    shape = 1.0 / (1.0 + np.exp(-np.clip((years[None, :] - middles.reshape(-1, 1)) / widths.reshape(-1, 1), -60.0, 60.0)))
    risen = (shape[:, 0] < 0.3) & (shape[:, -1] > 0.5)
    if not risen.any():
        return None
    future = 1.0 / (
        1.0 + np.exp(-np.clip(((years[-1] + ahead)[None, :] - middles.reshape(-1, 1)) / widths.reshape(-1, 1), -60.0, 60.0))
    )
    return _best_curve(values, shape[risen], future[risen])


def _thinned(years: Floats, values: Floats) -> tuple[Floats, Floats]:
    """At most `CURVE_SAMPLES` samples, first and last among them: a smooth curve needs no more."""
    if years.size <= CURVE_SAMPLES:
        return years, values
    rows = np.round(np.linspace(0, years.size - 1, CURVE_SAMPLES)).astype(np.int64)
    return years[rows], values[rows]


def _best_curve(values: Floats, rows: Floats, future: Floats) -> Floats:
    """The least-squares curve c0 + c1 f among rows of f, shifted to pass through the last value."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    target = values - values.mean()
    power = np.maximum((centred**2).sum(axis=1), 1e-300)
    moment = centred @ target
    best = int(np.argmax(moment**2 / power))
    slope = moment[best] / power[best]
    return np.asarray(values[-1] + slope * (future[best] - rows[best, -1]))


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "persistence": persistence,
        "careful_drift": careful_drift,
        "combined": combined,
        "trend": trend,
        "hyperbolic": hyperbolic,
        "exponential": exponential,
        "logistic": logistic,
    }
)
