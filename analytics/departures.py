"""Departures from a series' own habits: limits that past extremes set, for statistics of several spans.

A statistic (distance from the level of the last week, from the same hours of the last days, roughness ...) is cut into blocks of a third
of a day. What the largest values of past blocks were tells how large the next may be: limits are Gumbel's, from the quartiles of past
block maxima, widened where the tail is heavier than Gumbel's and never below what was usual. An anomaly enters the past with no more
than its limit, so that one event does not hide the next, and what happens again and again becomes a habit. Only the past is looked at.
This file finishes with `departures`.

References: Gumbel (1958), Statistics of Extremes; Coles (2001), doi:10.1007/978-1-4471-3675-0, ch. 3 (block maxima).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from analytics.sampling import Floats

_GUMBEL_QUARTILES = 1.5725
"""Distance of the quartiles of a Gumbel distribution in units of its scale."""


@dataclass(frozen=True)
class HabitSettings:
    """The one default setting.

    Attributes
    ----------
    reach : float
        Gumbel scales above the median block maximum for spans of several samples.
    point_reach : float
        The same for single samples, whose tails are heavier.
    tail : float
        Factor on the distance of the largest past block maximum from their median that must be passed as well.
    point_tail : float
        The same for single samples.
    excess : float
        Factor on the largest past block maximum that must be passed as well.
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
    """

    reach: float = 5.0
    point_reach: float = 12.0
    tail: float = 1.15
    point_tail: float = 1.6
    excess: float = 1.05
    history: int = 3000
    remembered_blocks: int = 28
    least_blocks: int = 6
    per_day: int = 96
    clearance: float = 0.0


@dataclass(frozen=True)
class Departure:
    """A statistic that passed its limit: when first and last, by how much (1 = at the limit), and over how many samples it is taken."""

    start: int
    end: int
    score: float
    channel: str
    span: int


def samples_a_day(ordinate: Floats, is_time: bool, settings: HabitSettings) -> int:
    """Samples of a civil day by the first hundred separations; the setting where there are no days or no two samples in one."""
    if not is_time or ordinate.size < 2:
        return settings.per_day
    interval = float(np.median(np.diff(ordinate[:100])))
    return round(86400.0 / interval) if 0.0 < interval <= 3 * 3600.0 else settings.per_day


def trailing_mean(values: Floats, span: int) -> Floats:
    """Mean of the `span` samples that end at each sample; NaN where one of them is NaN or missing."""
    known = np.isfinite(values)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    count = np.concatenate(([0], np.cumsum(known)))
    out = np.full(values.size, np.nan)
    full = count[span:] - count[:-span] == span
    out[span - 1 :][full] = ((total[span:] - total[:-span]) / span)[full]
    return out


def level_of_past(values: Floats, span: int) -> Floats:
    """Mean of up to `span` samples before each sample; NaN at the first."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    at = np.arange(values.size)
    first = np.maximum(0, at - span)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total[at] - total[first]) / (at - first))


def habit_limits(statistic: Floats, block: int, reach: float, tail: float, settings: HabitSettings) -> Floats:
    """Limit of a statistic at each sample, from blocks that were over before it; infinite where too little is known.

    Parameters
    ----------
    statistic : ndarray, shape (n,)
        Not negative; NaN = not known yet.
    block : int
        Samples of a block.
    reach : float
        Gumbel scales above the median.
    tail : float
        Factor on the distance of the largest past block maximum from their median.
    """
    n = statistic.size
    limit = np.full(n, np.inf)
    known = np.flatnonzero(np.isfinite(statistic))
    if not known.size:
        return limit
    begin = int(-(-known[0] // block) * block)
    blocks = (n - begin) // block
    if blocks <= settings.least_blocks:
        return limit
    cut = np.where(np.isfinite(statistic[begin : begin + blocks * block]), statistic[begin : begin + blocks * block], -np.inf)
    maxima = cut.reshape(blocks, block).max(axis=1)
    # A block of nothing but gaps is as quiet as the one before it.
    maxima = maxima[np.maximum.accumulate(np.where(np.isfinite(maxima), np.arange(blocks), 0))]
    remembered = max(settings.remembered_blocks, settings.history // block)
    low, middle, high = _past_quartiles(maxima, remembered, settings.least_blocks)
    with np.errstate(invalid="ignore"):
        scale = (high - low) / _GUMBEL_QUARTILES
    young = 1.0 + 7.0 / np.minimum(np.arange(1, blocks + 2), remembered)
    told = middle + reach * scale * young
    tame = np.fmin(maxima, told[:-1])  # an event counts with no more than its limit
    largest = _past_maximum(tame, remembered)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The largest of so many Gumbel values lies about ln(count) scales above the median; a heavier tail goes on as it began.
        heavy = (largest - middle) / (scale * (np.log(np.minimum(np.arange(1, blocks + 2), remembered)) + 1.0))
        widened = middle + tail * np.maximum(np.nan_to_num(heavy, nan=1.0, posinf=1.0), 1.0) * (largest - middle)
        bound = np.maximum(np.maximum(told, widened), settings.excess * largest)
    bound[: settings.least_blocks] = np.inf
    limit[begin:] = np.repeat(bound, block)[: n - begin]
    return limit


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


def _channels(values: Floats, day: int) -> list[tuple[str, int, Floats]]:
    """Statistics with their names and the samples that they are taken over."""
    short, long = max(4, min(day // 6, 24)), max(6, min(day // 3, 48))
    raw = values - level_of_past(values, 7 * day)
    before = np.full((7, values.size), np.nan)
    for k in range(1, 8):
        if k * day < values.size:
            before[k - 1, k * day :] = raw[: -k * day]
    days = np.isfinite(before).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.where(days > 0, np.nansum(before, axis=0) / days, np.nan)
    seasonal = raw - usual
    seasonal[: 2 * day] = np.nan  # one day is no habit
    found = [
        (f"{name}", span, np.abs(trailing_mean(part, span)))
        for name, part in (("level", raw), ("season", seasonal))
        for span in (1, short, long)
    ]
    step = np.concatenate(([np.nan], np.abs(np.diff(values))))
    found.append(("step", 1, step))
    found.append(("roughness", long, trailing_mean(step, long)))
    return found


def departures(
    ordinate: Floats,
    values: Floats,
    is_time: bool = True,
    settings: HabitSettings | None = None,
    *,
    beside: Sequence[tuple[str, int, Floats]] = (),
    floor: Floats | None = None,
) -> list[Departure]:
    """Find where a series leaves its habits.

    Parameters
    ----------
    ordinate, values : ndarray, shape (n,)
        Ascending, finite.
    is_time : bool
        Whether the ordinate is in seconds, so that days exist.
    settings : HabitSettings, optional
    beside : sequence of (name, span, statistic)
        Further statistics to judge in the same way.
    floor : ndarray, shape (n,), optional
        No limit is lower: the instrument's last digits.

    Returns
    -------
    list of Departure
        Each statistic's own; several may tell of one event. In order of their start.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=3000)
    >>> x[2000:2040] += 3.0
    >>> sorted({d.channel for d in departures(np.arange(3000.0), x, is_time=False)})
    ['level', 'season']
    """
    chosen = settings or HabitSettings()
    day = samples_a_day(ordinate, is_time, chosen)
    found = []
    least = 1e-9 * np.maximum.accumulate(np.abs(values - values[0])) if values.size else values
    least = least if floor is None else np.maximum(least, floor)
    digits = 0.0 if floor is None else chosen.clearance * floor
    for channel, span, statistic in [*_channels(values, day), *beside]:
        # Short blocks learn soon, whole days know the hours apart: whichever limit is the nearer one tells more.
        patient = channel == "level" and span > 1
        reach, tail = (chosen.reach, chosen.tail) if patient else (chosen.point_reach, chosen.point_tail)
        limits = [habit_limits(statistic, block, reach, tail, chosen) for block in (max(8, min(day // 3, 48)), day)]
        limit = np.maximum(np.minimum(*limits) + digits, least)
        over = np.flatnonzero(statistic > limit)
        for group in np.split(over, np.flatnonzero(np.diff(over) > day // 2) + 1):
            if group.size:
                score = float((statistic[group] / limit[group]).max())
                found.append(Departure(int(group[0]), int(group[-1]), score, channel, span))
    return sorted(found, key=lambda item: (item.start, item.channel, item.span))
