"""Layered marks: what each layer contributes, whether the layers close on the surface mark, and stick-slip of the instrument.

Compaction is shortening, positive, in millimetres. A layer without a value is unknown, never zero: then the closure cannot be told.
This file finishes with `leading_layer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analytics.sampling import Floats, Times


@dataclass(frozen=True)
class Closure:
    """Sum of the layers against the surface mark.

    Attributes
    ----------
    total_mm : float
        Sum of the layers; NaN where one is unknown.
    surface_mm : float
    residual_mm : float
        total - surface.
    tolerance_mm : float
        What the residual may be.
    closes : bool or None
        None where a layer or the surface is unknown.
    shares : ndarray, shape (k,)
        Contribution of each layer to the sum of the known layers; NaN where that sum is not above the tolerance.
    """

    total_mm: float
    surface_mm: float
    residual_mm: float
    tolerance_mm: float
    closes: bool | None
    shares: Floats


def layer_closure(
    layers_mm: ArrayLike, surface_mm: float, sigma_mm: ArrayLike | None = None, tolerance_mm: float = 2.0, k: float = 3.0
) -> Closure:
    r"""Contributions of layers to the compaction of a column, and the closure on the surface mark.

    .. math:: r = \sum_i b_i - b_s, \qquad |r| \le \max(\Delta, k \sqrt{\textstyle\sum_i \sigma_i^2 + \sigma_s^2})

    Parameters
    ----------
    layers_mm : array_like, shape (k,)
        Change of each layer over one window, shortening positive, mm. NaN = unknown.
    surface_mm : float
        Change of the surface mark against the deepest mark over the same window, mm.
    sigma_mm : array_like, shape (k + 1,), optional
        One standard deviation of each layer and, last, of the surface, mm; NaN counts as unknown and adds nothing.
    tolerance_mm : float
        Closure that the instruments allow whatever the sigmas; field practice asks for 1 to 2 mm.
    k : float
        Number of standard deviations.

    Returns
    -------
    Closure

    Notes
    -----
    Gaps: the caller takes all changes between the same two dates; nothing is interpolated here.

    References
    ----------
    Riley F.S. 1969, Analysis of borehole extensometer data from central California, IAHS Publ. 89, 423-431.

    Examples
    --------
    >>> layer_closure([3.1, 1.2, 0.4, 0.1], 4.9).closes
    True
    >>> layer_closure([3.1, 1.2, 3.1, 0.1], 4.8).closes
    False
    >>> layer_closure([3.1, float("nan")], 4.8).closes is None
    True
    """
    layers = np.asarray(layers_mm, dtype=np.float64)
    sigma = np.zeros(layers.size + 1) if sigma_mm is None else np.nan_to_num(np.asarray(sigma_mm, dtype=np.float64))
    allowed = max(tolerance_mm, k * float(np.sqrt((sigma**2).sum())))
    total = float(layers.sum())
    known = layers[np.isfinite(layers)]
    scale = float(known.sum()) if known.size else np.nan
    shares = layers / scale if np.isfinite(scale) and abs(scale) > 1e-9 else np.full(layers.size, np.nan)
    residual = total - surface_mm
    closes = bool(abs(residual) <= allowed) if np.isfinite(residual) and layers.size else None
    return Closure(total, float(surface_mm), float(residual), allowed, closes, np.asarray(shares, dtype=np.float64))


def values_at(time: Times, value: Floats, at: Times, reach_d: float) -> Floats:
    """Value of the nearest sample within a reach; NaN where there is none, so that a gap is not bridged.

    Parameters
    ----------
    time, value : ndarray, shape (n,)
        Ascending times and their values.
    at : ndarray of datetime64, shape (m,)
    reach_d : float
        Longest distance to the nearest sample, days.

    Returns
    -------
    ndarray, shape (m,)

    Examples
    --------
    >>> t = np.array(["2024-01-01", "2024-01-11"], "datetime64[us]")
    >>> values_at(t, np.array([1.0, 2.0]), np.array(["2024-01-02", "2024-01-06"], "datetime64[us]"), 3.0).tolist()
    [1.0, nan]
    """
    if not len(time):
        return np.full(len(at), np.nan)
    seconds = time.astype("datetime64[us]").astype(np.float64) * 1e-6
    wanted = at.astype("datetime64[us]").astype(np.float64) * 1e-6
    right = np.clip(np.searchsorted(seconds, wanted), 0, len(time) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(seconds[left] - wanted) <= np.abs(seconds[right] - wanted), left, right)
    far = np.abs(seconds[nearest] - wanted) > reach_d * 86400.0
    return np.where(far, np.nan, value[nearest])


@dataclass(frozen=True)
class Slip:
    """A sudden release of an extensometer that had stuck: an artefact of friction, not of the ground.

    Attributes
    ----------
    time : numpy.datetime64
        Of the first sample after the release.
    size_mm : float
    stuck_d : float
        How long the reading had stood still before.
    """

    time: np.datetime64
    size_mm: float
    stuck_d: float


def stick_slips(
    time: Times, value_mm: Floats, minimum_mm: float = 0.2, stuck_share: float = 0.1, agreement: float = 0.5
) -> list[Slip]:
    r"""Releases of a sticking extensometer: a stand-still, then a jump that makes up for it.

    A jump :math:`s` after a stand-still of :math:`\Delta t` is a slip where the stand-still moved by less than `stuck_share` of the
    jump and :math:`|s - v\,\Delta t| \le a\,\max(|s|, |v\,\Delta t|)` with the record's own long-term rate :math:`v`: the staircase
    keeps the rate, so it is no acceleration. A jump beyond what was held back is left to the search for steps.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        Ascending.
    value_mm : ndarray, shape (n,)
        Finite compaction, mm.
    minimum_mm : float
        Smallest jump, mm; above the resolution of the instrument.
    stuck_share : float
        Movement during the stand-still as a share of the jump.
    agreement : float
        `a` above.

    Returns
    -------
    list of Slip
        In time order.

    Notes
    -----
    Gaps: a jump counts only between neighbouring samples at the usual interval (within five of them); what happens in a gap is unknown.

    References
    ----------
    Riley F.S. 1986, Developments in borehole extensometry, IAHS Publ. 151, 169-186 (down-hole friction and dead band).

    Examples
    --------
    >>> t = np.datetime64("2024-01-01", "us") + np.arange(200) * np.timedelta64(1, "D")
    >>> staircase = np.floor(np.arange(200) / 40.0) * 1.0
    >>> [slip.size_mm for slip in stick_slips(t, staircase)]
    [1.0, 1.0, 1.0, 1.0]
    """
    if len(time) < 10:
        return []
    days = (time - time[0]).astype("timedelta64[us]").astype(np.float64) / 86400e6
    steps = np.diff(value_mm)
    rate = _robust_rate(days, value_mm)
    usual = float(np.median(np.diff(days)))
    found: list[Slip] = []
    for index in np.flatnonzero(np.abs(steps) >= minimum_mm):
        size = float(steps[index])
        if days[index + 1] - days[index] > 5.0 * usual:
            continue
        start = _stand_still(value_mm, int(index), abs(size) * stuck_share)
        stuck = float(days[index] - days[start])
        owed = rate * (stuck + usual)
        if index - start >= 3 and abs(size - owed) <= agreement * max(abs(size), abs(owed)):
            found.append(Slip(time[index + 1], size, stuck))
    return found


def _stand_still(value: Floats, end: int, band: float) -> int:
    """First sample of the stretch up to `end` that stays within a band around the last value."""
    outside = np.flatnonzero(np.abs(value[: end + 1] - value[end]) > band)
    return int(outside[-1]) + 1 if outside.size else 0


def _robust_rate(days: Floats, value: Floats) -> float:
    """Median slope between samples half a record apart: whole staircases average out, single jumps do not matter."""
    half = days.size // 2
    return float(np.median((value[half:] - value[: days.size - half]) / (days[half:] - days[: days.size - half])))


def leading_layer(contributions_mm: Sequence[float]) -> int | None:
    """Index of the layer that contributes most to the shortening; None where none shortens.

    Examples
    --------
    >>> leading_layer([0.1, 6.0, float("nan")])
    1
    """
    values = np.asarray(contributions_mm, dtype=np.float64)
    if not np.isfinite(values).any() or np.nanmax(values) <= 0.0:
        return None
    return int(np.nanargmax(values))
