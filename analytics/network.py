"""The network as a whole: campaigns, steps that all marks share, and benchmarks that were re-set.

A regional re-adjustment moves every mark at once and no ground: it is one finding, not one alert a mark. A mark that was destroyed and
re-set goes on under its name only with a tie, and the tie has a sigma. This file finishes with `tie_by_neighbours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.sampling import Floats, Times

MAD_TO_SIGMA = 1.4826
MEDIAN_LOSS = 1.2533
"""Sigma of a median over that of a mean, normal errors."""


def campaigns(times: Sequence[Times], apart_d: float = 45.0) -> Times:
    """Starts of survey campaigns: times of all marks together, split where nobody surveyed for `apart_d` days.

    Parameters
    ----------
    times : sequence of ndarray of datetime64
        Epochs of each mark.
    apart_d : float
        A campaign takes weeks; the next one begins after a pause of at least this many days.

    Returns
    -------
    ndarray of datetime64[us], shape (k,)

    Examples
    --------
    >>> a = np.array(["2024-05-01", "2025-05-03"], "datetime64[us]")
    >>> b = np.array(["2024-05-20", "2025-05-20"], "datetime64[us]")
    >>> campaigns([a, b]).astype("datetime64[D]").astype(str).tolist()
    ['2024-05-01', '2025-05-03']
    """
    every = np.unique(np.concatenate([np.asarray(item, dtype="datetime64[us]") for item in times])) if len(times) else np.zeros(0)
    if not every.size:
        return np.zeros(0, dtype="datetime64[us]")
    pause = np.timedelta64(round(apart_d * 86400e6), "us")
    return np.asarray(every[np.concatenate(([True], np.diff(every) > pause))])


def epoch_matrix(series: Sequence[tuple[Times, Floats]], starts: Times) -> tuple[Floats, Floats]:
    """Values and decimal days of each mark in each campaign.

    Returns
    -------
    values, days : ndarray, shape (marks, campaigns)
        Mean of a mark's values in a campaign, and of their times in days since the first campaign; NaN where it was not surveyed.
    """
    values = np.full((len(series), len(starts)), np.nan)
    days = np.full_like(values, np.nan)
    for row, (time, value) in enumerate(series):
        column = np.searchsorted(starts, time, side="right") - 1
        for index in np.unique(column[column >= 0]):
            mine = column == index
            values[row, index] = value[mine].mean()
            days[row, index] = ((time[mine] - starts[0]) / np.timedelta64(1, "D")).mean()
    return values, days


@dataclass(frozen=True)
class CommonStep:
    """A step that the network shares at one campaign.

    Attributes
    ----------
    campaign : int
        Index of the first campaign after the step.
    size, sigma : float
        Median departure of the marks, and the sigma of that median, in the unit of the values.
    scatter : float
        Robust standard deviation of the departures of single marks.
    marks : ndarray of int
        Rows that were surveyed before and after.
    share : float
        Share of them that moved the same way by more than half the step.
    """

    campaign: int
    size: float
    sigma: float
    scatter: float
    marks: NDArray[np.int64]
    share: float


def common_steps(
    values: Floats,
    days: Floats,
    minimum_marks: int = 8,
    minimum_size: float = 3.0,
    largest_scatter_share: float = 0.5,
    minimum_share: float = 0.75,
) -> list[CommonStep]:
    r"""Campaigns at which the whole network steps by the same amount: a datum re-adjustment, not ground.

    .. math:: d_{ij} = x_{ij} - x_{i,j-1} - \hat v_i\,(t_{ij} - t_{i,j-1}), \qquad \hat s_j = \mathrm{med}_i\, d_{ij}

    with the mark's own robust rate :math:`\hat v_i` from its other intervals. A step is common where
    :math:`|\hat s_j| \ge s_{min}`, at least `minimum_share` of the marks departed the same way by more than half of it, and the
    departures scatter by less than `largest_scatter_share` of it: ground that subsides does so unevenly, a datum moves all alike.

    Parameters
    ----------
    values, days : ndarray, shape (marks, campaigns)
        As `epoch_matrix` returns them; NaN = not surveyed.
    minimum_marks : int
        Marks surveyed on both sides.
    minimum_size : float
        Smallest step, in the unit of the values (mm).

    Returns
    -------
    list of CommonStep
        In order of campaigns.

    Notes
    -----
    Gaps: the last survey before and the first after count, however many campaigns a mark missed; a mark with fewer than three surveys
    uses the network's median rate.

    References
    ----------
    Wdowinski S. et al. 1997, J. Geophys. Res. 102, 18057-18070, doi:10.1029/97JB01378 (common mode by stacking of residuals).

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> days = np.tile(np.arange(6) * 365.25, (20, 1))
    >>> values = -rng.uniform(0, 20, (20, 1)) * days / 365.25 + rng.normal(0, 1, (20, 6))
    >>> values[:, 4:] += 7.0
    >>> [(step.campaign, round(step.size)) for step in common_steps(values, days)]
    [(4, 7)]
    """
    found: list[CommonStep] = []
    for campaign in range(1, values.shape[1]):
        rows, departures = _departures(values, days, campaign)
        if rows.size < minimum_marks:
            continue
        size = float(np.median(departures))
        scatter = MAD_TO_SIGMA * float(np.median(np.abs(departures - size)))
        share = float((departures * np.sign(size) > abs(size) / 2.0).mean())
        if abs(size) < minimum_size or scatter > largest_scatter_share * abs(size) or share < minimum_share:
            continue
        found.append(CommonStep(campaign, size, MEDIAN_LOSS * scatter / np.sqrt(rows.size), scatter, rows, share))
    return found


def _departures(values: Floats, days: Floats, campaign: int) -> tuple[NDArray[np.int64], Floats]:
    """What each mark did at a campaign beyond its own rate."""
    rows, jumps, spans, rates = list[int](), list[float](), list[float](), list[float]()
    for row in range(values.shape[0]):
        known = np.flatnonzero(np.isfinite(values[row]))
        position = int(np.searchsorted(known, campaign))
        if position == 0 or position >= known.size or known[position] != campaign:
            continue
        steps, widths = np.diff(values[row, known]), np.diff(days[row, known])
        others = np.arange(steps.size) != position - 1
        rows.append(row)
        jumps.append(float(steps[position - 1]))
        spans.append(float(widths[position - 1]))
        rates.append(float(np.median(steps[others] / widths[others])) if others.sum() >= 2 else np.nan)
    rate = np.array(rates)
    if np.isnan(rate).any():
        rate = np.where(np.isnan(rate), np.nanmedian(rate) if np.isfinite(rate).any() else 0.0, rate)
    return np.array(rows, dtype=np.int64), np.asarray(np.array(jumps) - rate * np.array(spans), dtype=np.float64)


@dataclass(frozen=True)
class Tie:
    """How a re-set mark is joined to its predecessor.

    Attributes
    ----------
    offset : float
        New minus old at the same moment: what to take off the new mark's values to go on with the old one's.
    sigma : float
        One standard deviation; it goes into every cumulative that crosses the tie.
    n : int
        Overlapping epochs or neighbours that it rests on.
    method : str
        `overlap` or `neighbours`.
    """

    offset: float
    sigma: float
    n: int
    method: str


def tie_by_overlap(old: ArrayLike, new: ArrayLike, sigma_old: float, sigma_new: float) -> Tie | None:
    r"""Tie of a re-set mark by epochs at which the old and the new one were both observed.

    .. math:: \hat o = \overline{x_{new} - x_{old}}, \qquad \sigma_o = \max(\sqrt{\sigma_{old}^2 + \sigma_{new}^2},\; s) / \sqrt n

    Parameters
    ----------
    old, new : array_like, shape (n,)
        Values at the same epochs; NaN pairs are left out.
    sigma_old, sigma_new : float
        One standard deviation of one epoch, same unit.

    Returns
    -------
    Tie or None
        None without an overlapping epoch; s is the scatter of the differences where there are three or more.

    Examples
    --------
    >>> tie = tie_by_overlap([2.5000, 2.4990], [3.1010, 3.1000], 0.0004, 0.0003)
    >>> f"{tie.offset:.4f} {tie.sigma:.5f} {tie.n}"
    '0.6010 0.00035 2'
    """
    difference = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return None
    single = float(np.hypot(sigma_old, sigma_new))
    if difference.size >= 3:
        single = max(single, float(difference.std(ddof=1)))
    return Tie(float(difference.mean()), single / float(np.sqrt(difference.size)), int(difference.size), "overlap")


def tie_by_neighbours(jump: float, neighbours: ArrayLike, sigma_single: float) -> Tie | None:
    r"""Tie of a re-set mark by what its neighbours did between the last old and the first new epoch.

    .. math:: \hat o = (x_{new} - x_{old}) - \mathrm{med}_i\,\Delta_i,
       \qquad \sigma_o^2 = 2\sigma^2 + (1 + \tfrac{\pi}{2n})\, s^2

    The old mark is taken to have moved like its neighbours; the scatter s of those is therefore part of the sigma at full weight, not
    only divided by their number.

    Parameters
    ----------
    jump : float
        First new minus last old value.
    neighbours : array_like, shape (n,)
        Change of each neighbour over the same interval; NaN = unknown.
    sigma_single : float
        One standard deviation of one epoch.

    Returns
    -------
    Tie or None
        None with fewer than two neighbours: a single one cannot tell how alike they move.

    Examples
    --------
    >>> tie = tie_by_neighbours(112.0, [-8.0, -9.0, -7.0], 0.5)
    >>> round(tie.offset, 1), tie.n, tie.method
    (120.0, 3, 'neighbours')
    """
    known = np.asarray(neighbours, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < 2 or not np.isfinite(jump):
        return None
    middle = float(np.median(known))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(known - middle))) if known.size >= 3 else float(known.std(ddof=1))
    sigma = np.sqrt(2.0 * sigma_single**2 + (1.0 + np.pi / (2.0 * known.size)) * scatter**2)
    return Tie(jump - middle, float(sigma), int(known.size), "neighbours")
