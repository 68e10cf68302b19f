"""Departures from a series' own habits: limits that past extremes set, for statistics of several spans, singly and together.

Distance from the level of the last week, from the same hours of the last days, from a forecast that is learnt as the series goes on,
roughness, steps. Each is held against its own past extremes (`habits`). What several of them tell together is a statistic of its own, the
joint evidence, with a past of its own: many small surprises at once are one large one. A value outside the range of all before it is a
record. Only the past is looked at. This file finishes with `departures`.

References: Gumbel (1958), Statistics of Extremes; Hoerl and Kennard (1970), doi:10.1080/00401706.1970.10488634 (the forecast's ridge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.habits import HabitSettings, habit_limits, past_of, spread
from analytics.sampling import Floats

FIRST_SEPARATIONS = 60
"""The interval is taken from so many separations, so that it is the same however much has come in since."""
_MOST_REMEMBERED = 6.0
"""Gumbel scales above the usual that a value is remembered by."""
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


@dataclass(frozen=True)
class Channel:
    """One statistic: not negative, NaN = not known yet; `joint` ones count in the joint evidence."""

    name: str
    span: int
    statistic: Floats
    joint: bool = False


def samples_a_day(ordinate: Floats, is_time: bool, settings: HabitSettings) -> int:
    """Samples of a civil day by the first separations; the setting where there are no days or no two samples in one."""
    if not is_time or ordinate.size < 2:
        return settings.per_day
    interval = float(np.median(np.diff(ordinate[: FIRST_SEPARATIONS + 1])))
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


def forecast_errors(raw: Floats, known: Floats, day: int, prior: float = 20.0, remembered_d: float = 14.0) -> Floats:
    """What a forecast from the last four samples and from those of a day and a week ago left, learnt from the past alone.

    A ridge regression whose sums fade with a half-life; its coefficients are solved anew every sixth of a day and hold for the next.

    Parameters
    ----------
    raw : ndarray, shape (n,)
        Series about a level; finite.
    known : ndarray, shape (n,)
        The same as it is remembered (`tamed`).
    day : int
        Samples a day.
    prior : float
        Samples that speak for coefficients of zero: what has just begun to be learnt forecasts little.
    remembered_d : float
        Half-life of what was learnt, days.

    Returns
    -------
    ndarray, shape (n,)
        NaN while too little is learnt.
    """
    n, block = raw.size, max(8, day // 6)
    lags = [1, 2, 3, 4, *(season + near for season in (day, 7 * day) for near in (-1, 0, 1))]
    before = np.zeros((n, len(lags)))
    for column, lag in enumerate(lags):
        before[lag:, column] = known[: max(n - lag, 0)]
    left = np.full(n, np.nan)
    normal, right, weight = np.zeros((len(lags), len(lags))), np.zeros(len(lags)), 0.0
    fading = 0.5 ** (block / (remembered_d * day))
    for start in range(0, n, block):
        rows = slice(start, start + block)
        power = normal[0, 0] / max(weight, 1.0)
        if start >= 2 * len(lags) + 20:
            weights = np.linalg.solve(normal + prior * power * np.eye(len(lags)), right) if power > 0.0 else right
            left[rows] = raw[rows] - before[rows] @ weights
        normal = fading * normal + before[rows].T @ before[rows]
        right = fading * right + before[rows].T @ known[rows]
        weight = fading * weight + block
    return left


def tamed(raw: Floats, block: int, settings: HabitSettings) -> Floats:
    """A series about a level as it is remembered: no further out than its past lets expect, so that an event has no echo."""
    past = past_of(np.abs(raw), block, settings)
    if past is None:
        return raw
    with np.errstate(invalid="ignore"):
        bound = np.nan_to_num(past.middle + _MOST_REMEMBERED * past.scale, nan=np.inf)
    most = spread(past, bound, block, raw.size)
    return np.asarray(np.clip(raw, -most, most))


def _channels(values: Floats, day: int, settings: HabitSettings) -> list[Channel]:
    """The statistics that are watched."""
    short, long = max(4, min(day // 6, 24)), max(6, min(day // 3, 48))
    raw = values - level_of_past(values, 7 * day)
    known = tamed(np.nan_to_num(raw), long, settings)
    before = np.full((7, values.size), np.nan)
    for k in range(1, 8):
        if k * day < values.size:
            before[k - 1, k * day :] = known[: -k * day]
    days = np.isfinite(before).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.where(days > 0, np.nansum(before, axis=0) / days, np.nan)
    seasonal = raw - usual
    seasonal[: 2 * day] = np.nan  # one day is no habit
    found = [
        Channel(name, span, np.abs(trailing_mean(part, span)), joint=span > 1)
        for name, part in (("level", raw), ("season", seasonal))
        for span in (1, short, long)
    ]
    step = np.concatenate(([np.nan], np.abs(np.diff(values))))
    found += [Channel("step", 1, step), Channel("roughness", long, trailing_mean(step, long))]
    left = forecast_errors(np.nan_to_num(raw), known, day)
    found.append(Channel("forecast", short, np.abs(trailing_mean(left, short)), joint=True))
    found.append(Channel("unrest", short, trailing_mean(np.abs(left), short), joint=True))
    return found


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


def _joint(channels: Sequence[Channel], block: int, least: Floats, quiet: int, settings: HabitSettings) -> list[Departure]:
    """Departures of the joint evidence: the root mean square of the surprises, held against its own past; each bears its leading channel."""
    together = [channel for channel in channels if channel.joint]
    surprises = _surprises(together, block, least, settings)
    evidence = np.sqrt((np.nan_to_num(surprises) ** 2).mean(axis=0))
    evidence[np.isnan(surprises).all(axis=0)] = np.nan
    limit = np.maximum(habit_limits(evidence, block, settings.joint, settings), 1e-9)
    found = []
    for first, last, score in _runs(evidence, limit, quiet):
        leading = together[int(np.argmax(np.nan_to_num(surprises[:, first])))]
        found.append(Departure(first, last, score, leading.name, leading.span))
    return found


def _records(values: Floats, floor: Floats, quiet: int, settings: HabitSettings) -> list[Departure]:
    """Values outside the range of all before them by more than chance makes records."""
    highest, lowest = np.maximum.accumulate(values)[:-1], np.minimum.accumulate(values)[:-1]
    beyond = np.maximum(values[1:] - highest, lowest - values[1:])
    span = highest - lowest
    share = settings.record_share + settings.record_samples / np.arange(1, values.size)
    # A series of a few levels has no range to leave.
    limit = np.where(span > floor[1:], np.maximum(share * span, floor[1:]), np.inf)
    return [Departure(first + 1, last + 1, score, "record", 1) for first, last, score in _runs(beyond, limit, quiet)]


def _runs(statistic: Floats, limit: Floats, apart: int) -> list[tuple[int, int, float]]:
    """First and last sample above the limit, and the largest ratio, of runs that lie more than `apart` samples apart."""
    with np.errstate(invalid="ignore"):
        over = np.flatnonzero(statistic > limit)
    groups = np.split(over, np.flatnonzero(np.diff(over) > apart) + 1)
    return [(int(group[0]), int(group[-1]), float((statistic[group] / limit[group]).max())) for group in groups if group.size]


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
        Samples after which the joint evidence and records count as new.

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
    ['level', 'season', 'unrest']
    """
    if not values.size:
        return []
    chosen = settings or HabitSettings()
    day = samples_a_day(ordinate, is_time, chosen)
    least = 1e-9 * np.maximum.accumulate(np.abs(values - values[0]))
    digits = np.zeros(values.size) if floor is None else floor
    channels = _channels(values, day, chosen)
    third = max(8, min(day // 3, 48))
    found = []
    for channel in [
        *(item for item in channels if item.name not in {"forecast", "unrest"}),
        *(Channel(*item) for item in beside),
    ]:
        # Short blocks learn soon, whole days know the hours apart: whichever limit is the nearer one tells more.
        hurdle = chosen.span if channel.name == "level" and channel.span > 1 else chosen.point
        limits = [habit_limits(channel.statistic, block, hurdle, chosen) for block in (third, day)]
        limit = np.maximum(np.minimum(*limits) + chosen.clearance * digits, np.maximum(least, digits))
        found += [Departure(*run, channel.name, channel.span) for run in _runs(channel.statistic, limit, day // 2)]
    found += _joint(channels, third, np.maximum(np.maximum(least, digits), 1e-300), quiet, chosen)
    found += _records(values, np.maximum(least, digits), quiet, chosen)
    return sorted(found, key=lambda item: (item.start, item.channel, item.span))
