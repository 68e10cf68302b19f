"""Departures from a series' own habits: limits that past extremes set, for statistics of several spans, singly and together.

Each statistic of `watched` is held against its own past extremes (`habits`). What several of them tell together is a statistic of its own,
the joint evidence, with a past of its own: many small surprises at once are one large one. A value outside the range of all before it is a
record. Far limits raise alarms, near ones suspects. Only the past is looked at. This file finishes with `departures`.

References: Gumbel (1958), Statistics of Extremes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analytics.habits import HabitSettings, Hurdle, habit_limits, past_of, spread
from analytics.sampling import Floats
from analytics.watched import Channel, channels_of, samples_a_day

_MOST_SURPRISE = 20.0
"""One statistic alone tells no more than so many of its scales."""


@dataclass(frozen=True)
class Departure:
    """A statistic that passed its limit: when first and last, by how much (1 = at the limit), and over how many samples it is taken."""

    start: int
    end: int
    score: float
    channel: str
    span: int
    suspect: bool = False


@dataclass(frozen=True)
class _Series:
    """What all statistics are judged with.

    Attributes
    ----------
    values : ndarray, shape (n,)
    floor : ndarray, shape (n,)
        No limit of a statistic in the series' unit is lower.
    digits : ndarray, shape (n,)
        The instrument's last digits.
    day : int
        Samples a day.
    quiet : int
        Samples after which the joint evidence, records and suspects count as new.
    """

    values: Floats
    floor: Floats
    digits: Floats
    day: int
    quiet: int

    @property
    def block(self) -> int:
        """Samples of a block of a third of a day."""
        return max(8, min(self.day // 3, 48))


def _surprises(channels: Sequence[Channel], block: int, least: Floats, settings: HabitSettings) -> Floats:
    """How far each statistic is above its usual block maximum, in Gumbel scales from 0 to a most, shape (channels, n); NaN = unknown."""
    found = np.full((len(channels), least.size), np.nan)
    for row, channel in enumerate(channels):
        past = past_of(channel.statistic, block, settings)
        if past is None:
            continue
        with np.errstate(invalid="ignore"):
            scale = np.maximum(past.scale, 0.05 * np.abs(past.middle))
            above = channel.statistic - spread(past, past.middle, block, least.size)
            z = above / np.maximum(spread(past, scale, block, least.size), least)
        found[row] = np.where(np.isfinite(z), np.clip(z, 0.0, _MOST_SURPRISE), np.nan)
    return found


def _joint(
    series: _Series, channels: Sequence[Channel], hurdles: Sequence[tuple[Hurdle, bool]], settings: HabitSettings
) -> list[Departure]:
    """Departures of the joint evidence: the root mean square of the surprises, held against its own past; each bears its leading channel."""
    together = [channel for channel in channels if channel.joint]
    surprises = _surprises(together, series.block, np.maximum(series.floor, 1e-300), settings)
    evidence = np.sqrt((np.nan_to_num(surprises) ** 2).mean(axis=0))
    evidence[np.isnan(surprises).all(axis=0)] = np.nan
    found = []
    for hurdle, suspect in hurdles:
        limit = np.maximum(habit_limits(evidence, series.block, hurdle, settings), 1e-9)
        for first, last, score in _runs(evidence, limit, series.quiet):
            leading = together[int(np.argmax(np.nan_to_num(surprises[:, first])))]
            found.append(Departure(first, last, score, leading.name, leading.span, suspect))
    return found


def _records(series: _Series, share: float, samples: float) -> list[Departure]:
    """Values outside the range of all before them by more than chance makes records."""
    values, floor = series.values, series.floor
    highest, lowest = np.maximum.accumulate(values)[:-1], np.minimum.accumulate(values)[:-1]
    beyond = np.maximum(values[1:] - highest, lowest - values[1:])
    span = highest - lowest
    shares = share + samples / np.arange(1, values.size)
    # A series of a few levels has no range to leave.
    limit = np.where(span > floor[1:], np.maximum(shares * span, floor[1:]), np.inf)
    return [Departure(first + 1, last + 1, score, "record", 1) for first, last, score in _runs(beyond, limit, series.quiet)]


def _runs(statistic: Floats, limit: Floats, apart: int) -> list[tuple[int, int, float]]:
    """First and last sample above the limit, and the largest ratio, of runs that lie more than `apart` samples apart."""
    with np.errstate(invalid="ignore"):
        over = np.flatnonzero(statistic > limit)
    groups = np.split(over, np.flatnonzero(np.diff(over) > apart) + 1)
    return [(int(group[0]), int(group[-1]), float((statistic[group] / limit[group]).max())) for group in groups if group.size]


def _alarms(series: _Series, channels: Sequence[Channel], settings: HabitSettings) -> list[Departure]:
    """Single statistics beyond their far limits."""
    found = []
    for channel in channels:
        # Short blocks learn soon, whole days know the hours apart: whichever limit is the nearer one tells more.
        hurdle = settings.span if channel.name == "level" and channel.span > 1 else settings.point
        limits = [habit_limits(channel.statistic, block, hurdle, settings) for block in (series.block, series.day)]
        limit = np.maximum(np.minimum(*limits) + settings.clearance * series.digits, series.floor)
        found += [Departure(*run, channel.name, channel.span) for run in _runs(channel.statistic, limit, series.day // 2)]
    return found


def _suspects(series: _Series, channels: Sequence[Channel], hurdle: Hurdle, settings: HabitSettings) -> list[Departure]:
    """Single statistics beyond their near limits."""
    found = []
    for channel in channels:
        limit = habit_limits(channel.statistic, series.block, hurdle, settings)
        limit = np.maximum(limit, 1e-9 if channel.relative else series.floor)
        found += [Departure(*run, channel.name, channel.span, True) for run in _runs(channel.statistic, limit, series.quiet)]
    return found


def departures(
    ordinate: Floats,
    values: Floats,
    is_time: bool = True,
    settings: HabitSettings | None = None,
    *,
    beside: Sequence[tuple[str, int, Floats]] = (),
    floor: Floats | None = None,
    quiet: int = 48,
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
    quiet : int
        Samples after which the joint evidence, records and suspects count as new.

    Returns
    -------
    list of Departure
        Each statistic's own; several may tell of one event, and suspects of the same as alarms. In order of their start.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=3000)
    >>> x[2000:2040] += 3.0
    >>> sorted({d.channel for d in departures(np.arange(3000.0), x, is_time=False)})
    ['jitter', 'level', 'season']
    """
    if not values.size:
        return []
    chosen = settings or HabitSettings()
    day = samples_a_day(ordinate, is_time, chosen)
    digits = np.zeros(values.size) if floor is None else floor
    least = np.maximum(1e-9 * np.maximum.accumulate(np.abs(values - values[0])), digits)
    series = _Series(values, least, digits, day, quiet)
    channels = channels_of(values, day, np.maximum(least, 1e-300), chosen)
    extra = [Channel(*item, alarms=True) for item in beside]
    found = _alarms(series, [*(channel for channel in channels if channel.alarms), *extra], chosen)
    found += _records(series, chosen.record_share, chosen.record_samples)
    hurdles, near = [(chosen.joint, False)], chosen.near
    if near is not None:
        hurdles.append((near.joint, True))
        found += _suspects(series, [channel for channel in channels if channel.suspects], near.alone, chosen)
        found += [replace(item, suspect=True) for item in _records(series, near.record_share, near.record_samples)]
    found += _joint(series, channels, hurdles, chosen)
    return sorted(found, key=lambda item: (item.start, item.channel, item.span))
