"""The statistics that are watched: levels, seasons, forecasts, steps and roughness of a series, each of the past and the present sample.

What is remembered of a sample is tamed, so that an event has no echo a day or a week later. Only the past is looked at.
This file finishes with `channels_of`.

References: Hoerl and Kennard (1970), doi:10.1080/00401706.1970.10488634 (the forecast's ridge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.habits import HabitSettings, past_of, spread
from analytics.sampling import Floats

FIRST_SEPARATIONS = 60
"""The interval is taken from so many separations, so that it is the same however much has come in since."""
_MOST_REMEMBERED = 6.0
"""Gumbel scales above the usual that a value is remembered by."""
_RECENT = (1, 2, 3, 4)
"""Lags of the samples just before, of a forecast."""
_DAYS_OF_SIZE = 14
"""Days whose same hour tells how large a statistic usually is then."""


@dataclass(frozen=True)
class Channel:
    """One statistic, not negative, NaN = not known yet.

    Attributes
    ----------
    name : str
    span : int
        Samples that it is taken over.
    statistic : ndarray, shape (n,)
    alarms : bool
        Held against the far limits, that raise alarms.
    suspects : bool
        Held against the near limits, that raise suspects.
    joint : bool
        Counts in the joint evidence.
    relative : bool
        A ratio, which no last digit of the series bounds.
    """

    name: str
    span: int
    statistic: Floats
    alarms: bool = False
    suspects: bool = False
    joint: bool = False
    relative: bool = False


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


def forecast_errors(
    raw: Floats, known: Floats, day: int, lags: Sequence[int], prior: float = 20.0, remembered_d: float = 14.0
) -> Floats:
    """What a forecast from samples some lags ago left, learnt from the past alone.

    A ridge regression whose sums fade with a half-life; its coefficients are solved anew every sixth of a day and hold for the next.

    Parameters
    ----------
    raw : ndarray, shape (n,)
        Series about a level; finite.
    known : ndarray, shape (n,)
        The same as it is remembered (`tamed`).
    day : int
        Samples a day.
    lags : sequence of int
        Samples back.
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


def _usual(known: Floats, period: int, periods: int) -> Floats:
    """Mean of the samples one, two, ... up to `periods` periods before each; NaN where there is none."""
    total, count = np.zeros(known.size), np.zeros(known.size)
    for lag in range(period, min(periods * period, known.size - 1) + 1, period):
        total[lag:] += known[:-lag]
        count[lag:] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count)


def _by_hour(statistic: Floats, day: int, span: int, least: Floats, settings: HabitSettings) -> Floats:
    """A statistic over its usual size at the same hour of the last days: what is little by day may be much at night."""
    known = tamed(np.nan_to_num(statistic), max(6, min(day // 3, 48)), settings)
    size = trailing_mean(np.nan_to_num(_usual(known, day, _DAYS_OF_SIZE)), span)
    size[: np.argmax(np.isfinite(statistic)) + 3 * day] = np.nan  # three days at least tell a size
    overall = level_of_past(known, _DAYS_OF_SIZE * day)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(statistic / (np.where(size > 0.0, size, np.nan) + 0.25 * overall + least))


def channels_of(values: Floats, day: int, least: Floats, settings: HabitSettings) -> list[Channel]:
    """The statistics of a series.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite.
    day : int
        Samples a day.
    least : ndarray, shape (n,)
        What is as good as nothing at each sample; positive.
    settings : HabitSettings
    """
    short, long = max(4, min(day // 6, 24)), max(6, min(day // 3, 48))
    raw = values - level_of_past(values, 7 * day)
    known = tamed(np.nan_to_num(raw), long, settings)
    season, week = raw - _usual(known, day, 7), raw - _usual(known, 7 * day, 4)
    season[: 2 * day] = np.nan  # one day is no habit
    week[: 14 * day] = np.nan
    found = [
        Channel(name, span, np.abs(trailing_mean(part, span)), alarms=True, suspects=span > 1, joint=span > 1)
        for name, part in (("level", raw), ("season", season))
        for span in (1, short, long)
    ]
    found += [Channel("week", span, np.abs(trailing_mean(week, span)), suspects=True) for span in (short, long)]
    step, mean = np.abs(np.diff(values, prepend=np.nan)), trailing_mean(values, short)
    found += [
        Channel("step", 1, step, alarms=True),
        Channel("roughness", long, trailing_mean(step, long), alarms=True),
        Channel("contrast", short, np.abs(mean - np.concatenate((np.full(short, np.nan), mean))[: mean.size]), suspects=True),
    ]
    seasons = [season_lag + near for season_lag in (day, 7 * day) for near in (-1, 0, 1)]
    left = forecast_errors(np.nan_to_num(raw), known, day, [*_RECENT, *seasons])
    of_recent = forecast_errors(np.nan_to_num(raw), known, day, _RECENT)
    forecast = np.abs(trailing_mean(left, short))
    found += [
        Channel("forecast", short, forecast, joint=True),
        Channel("unrest", short, trailing_mean(np.abs(left), short), joint=True),
        Channel("jitter", short, trailing_mean(np.abs(of_recent), short), joint=True),
    ]
    for name, statistic in (("season", np.abs(trailing_mean(season, short))), ("forecast", forecast)):
        relative = _by_hour(statistic, day, short, least, settings)
        found.append(Channel(f"{name} by hour", short, relative, suspects=True, relative=True))
    return found
