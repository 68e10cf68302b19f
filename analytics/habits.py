"""What a statistic's past extremes tell of its next ones.

A statistic is cut into blocks (a third of a day, a day). The largest values of past blocks tell how large the next may be: their quartiles
give a Gumbel distribution's location and scale, their largest value a bound below which nothing is unheard of. A block enters the past
with no more than its limit, so that one event does not hide the next, and what happens again and again becomes a habit. Only blocks that
are over count. This file finishes with `habit_limits`.

References: Gumbel (1958), Statistics of Extremes; Coles (2001), doi:10.1007/978-1-4471-3675-0, ch. 3 (block maxima).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from analytics.sampling import Floats

_GUMBEL_QUARTILES = 1.5725
"""Distance of the quartiles of a Gumbel distribution in units of its scale."""


@dataclass(frozen=True)
class Hurdle:
    """What a statistic must pass, all of it.

    Attributes
    ----------
    reach : float
        Gumbel scales above the median block maximum.
    tail : float
        Factor on the distance of the largest past block maximum from their median; 0 = not asked.
    excess : float
        Factor on the largest past block maximum.
    young : float
        The reach is longer by this share over the number of known blocks: few blocks know their quartiles badly.
    """

    reach: float
    tail: float
    excess: float = 1.05
    young: float = 7.0


@dataclass(frozen=True)
class NearLimits:
    """What raises a suspect: worth a look, and not worth waking anybody.

    Attributes
    ----------
    joint : Hurdle
        For the evidence of several statistics together.
    alone : Hurdle
        For single statistics over several samples.
    record_share, record_samples : float
        As of `HabitSettings`.
    """

    joint: Hurdle = field(default_factory=lambda: Hurdle(4.0, 0.0, 1.8, 40.0))
    alone: Hurdle = field(default_factory=lambda: Hurdle(4.0, 0.0, 1.5, 20.0))
    record_share: float = 0.05
    record_samples: float = 90.0


@dataclass(frozen=True)
class HabitSettings:
    """The one default setting.

    Attributes
    ----------
    span : Hurdle
        For the level over spans of several samples.
    point : Hurdle
        For single samples, whose tails are heavier, and all else.
    joint : Hurdle
        For the evidence of several statistics together.
    record_share, record_samples : float
        A value is a record when it leaves the range of all before it by this share of the range, and by so many samples over the
        number known more: among n samples the next is the largest by chance once in n.
    history : int
        Samples that are remembered.
    remembered_blocks : int
        Blocks that are remembered at least, however long they are.
    least_blocks : int
        Blocks that must be known before anything is judged.
    per_day : int
        Samples a day where no day is known.
    clearance : float
        Share of the floor that must lie between a limit and an alarm: rounding alone lifts the largest step from seven last digits to eight.
    near : NearLimits, optional
        What raises suspects beside the alarms; nothing by default.
    """

    span: Hurdle = field(default_factory=lambda: Hurdle(8.0, 1.6))
    point: Hurdle = field(default_factory=lambda: Hurdle(12.0, 2.0))
    joint: Hurdle = field(default_factory=lambda: Hurdle(3.5, 0.0, 2.3, 50.0))
    record_share: float = 0.05
    record_samples: float = 600.0
    history: int = 3000
    remembered_blocks: int = 28
    least_blocks: int = 6
    per_day: int = 96
    clearance: float = 0.0
    near: NearLimits | None = None


@dataclass(frozen=True)
class Past:
    """Block maxima of one statistic and what was known of them before each block, and before the one after the last.

    Attributes
    ----------
    begin : int
        First sample of the first block.
    maxima : ndarray, shape (blocks,)
    middle, scale : ndarray, shape (blocks + 1,)
        Median and Gumbel scale of the maxima remembered; infinite where too few.
    remembered : int
        Blocks that are remembered.
    """

    begin: int
    maxima: Floats
    middle: Floats
    scale: Floats
    remembered: int


def past_of(statistic: Floats, block: int, settings: HabitSettings) -> Past | None:
    """The past of a statistic by its blocks; None where too little is known."""
    known = np.flatnonzero(np.isfinite(statistic))
    if not known.size:
        return None
    begin = int(-(-known[0] // block) * block)
    blocks = (statistic.size - begin) // block
    if blocks < settings.least_blocks:
        return None
    part = statistic[begin : begin + blocks * block]
    maxima = np.where(np.isfinite(part), part, -np.inf).reshape(blocks, block).max(axis=1)
    # A block of nothing but gaps is as quiet as the one before it.
    maxima = maxima[np.maximum.accumulate(np.where(np.isfinite(maxima), np.arange(blocks), 0))]
    remembered = max(settings.remembered_blocks, settings.history // block)
    low, middle, high = _past_quartiles(maxima, remembered, settings.least_blocks)
    with np.errstate(invalid="ignore"):
        scale = (high - low) / _GUMBEL_QUARTILES
    return Past(begin, maxima, middle, scale, remembered)


def spread(past: Past, of_blocks: Floats, block: int, n: int, before: float = np.inf) -> Floats:
    """Values of blocks laid on the samples, shape (n,)."""
    out = np.full(n, before)
    out[past.begin :] = np.repeat(of_blocks, block)[: n - past.begin]
    return out


def habit_limits(statistic: Floats, block: int, hurdle: Hurdle, settings: HabitSettings) -> Floats:
    """Limit of a statistic at each sample, from blocks that were over before it; infinite where too little is known.

    Parameters
    ----------
    statistic : ndarray, shape (n,)
        Not negative; NaN = not known yet.
    block : int
        Samples of a block.
    hurdle : Hurdle
    settings : HabitSettings

    Returns
    -------
    ndarray, shape (n,)
    """
    n = statistic.size
    past = past_of(statistic, block, settings)
    if past is None:
        return np.full(n, np.inf)
    count = np.minimum(np.arange(1, past.maxima.size + 2), past.remembered)
    told = past.middle + hurdle.reach * past.scale * (1.0 + hurdle.young / count)
    tame = np.fmin(past.maxima, told[:-1])  # an event counts with no more than its limit
    largest = _past_maximum(tame, past.remembered)
    bound = np.maximum(told, hurdle.excess * largest)
    if hurdle.tail > 0.0:
        with np.errstate(invalid="ignore", divide="ignore"):
            # The largest of so many Gumbel values lies about ln(count) scales above the median; a heavier tail goes on as it began.
            heavy = (largest - past.middle) / (past.scale * (np.log(count) + 1.0))
            heavy = np.maximum(np.nan_to_num(heavy, nan=1.0, posinf=1.0), 1.0)
            bound = np.maximum(bound, past.middle + hurdle.tail * heavy * (largest - past.middle))
    bound[: settings.least_blocks] = np.inf
    return spread(past, bound, block, n)


def _past_quartiles(maxima: Floats, remembered: int, least: int) -> tuple[Floats, Floats, Floats]:
    """Quartiles of the maxima before each block (and before the one after the last), shape (blocks + 1,); infinite where too few."""
    count = maxima.size + 1
    found = np.full((3, count), np.inf)
    for at in range(least, min(remembered, count)):
        found[:, at] = _quartiles(maxima[None, :at])[:, 0]
    if count > remembered:
        found[:, remembered:] = _quartiles(sliding_window_view(maxima, remembered))
    return found[0], found[1], found[2]


def _quartiles(rows: Floats) -> NDArray[np.float64]:
    """Lower quartile, median, upper quartile of each row by nearest rank, which a partition gives."""
    size = rows.shape[1]
    ranks = [round(share * (size - 1)) for share in (0.25, 0.5, 0.75)]
    return np.asarray(np.partition(rows, ranks, axis=1)[:, ranks].T)


def _past_maximum(values: Floats, remembered: int) -> Floats:
    """Largest of the `remembered` values before each, shape (n + 1,); minus infinity at the first."""
    padded = np.concatenate((np.full(remembered, -np.inf), values))
    return np.asarray(sliding_window_view(padded, remembered).max(axis=1))
