"""Anomalies of a series: spikes, level shifts, frozen values and missing patterns, judged causally.

Several statistics of the past and the present are watched: the departure from what the last samples led one to expect (the level, the
last sample, the last step, or the season before, whichever served better lately), the distance from the level of the last week and from
the same hours of the last days over one and several samples, the step, the roughness, what a forecast leaves, and new records. Each is
held against its own past extremes, several together as well (`departures`), so that what a series does often is no anomaly. Nothing here
looks at a later sample to raise an alarm: a series that is cut short has the alarms of the whole one up to there.
This file holds the causal detector and Hampel's filter for residuals.

References: Hampel (1974), doi:10.1080/01621459.1974.10482962; Pearson et al. (2016),
doi:10.1186/s13634-016-0383-6; QARTOD manuals (U.S. IOOS) for the spike and flat-line tests.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from analytics.departures import Departure, departures
from analytics.habits import HabitSettings
from analytics.sampling import Floats, local_interval_s
from analytics.watched import FIRST_SEPARATIONS, samples_a_day

Flags = NDArray[np.bool_]
_MAD_TO_SIGMA = 1.4826
_USUAL_SEPARATIONS = 31


@dataclass(frozen=True)
class AnomalySettings:
    """The one default setting.

    Attributes
    ----------
    habits : HabitSettings
        How far a statistic may leave its past.
    resolution_factor : float
        Departures below so many of the instrument's last digits are none.
    quiet : int
        Samples (at most two days) after an event in which what follows belongs to it.
    level_window, history : int
        Samples of the running level and of the departures' scale.
    probation : int
        Samples at the beginning that only teach.
    frozen_factor : float
        A run of equal values must be this many times the longest one seen before.
    frozen_minimum : int
        Fewest equal values of a frozen run.
    gap_factor : float
        A gap must be this many typical intervals, and twice the third longest seen before.
    shift_samples : int
        A departure that lasts so long is a level shift and becomes the new level.
    """

    habits: HabitSettings = field(default_factory=HabitSettings)
    resolution_factor: float = 4.0
    quiet: int = 48
    level_window: int = 9
    history: int = 600
    probation: int = 60
    frozen_factor: float = 3.0
    frozen_minimum: int = 12
    gap_factor: float = 10.0
    shift_samples: int = 12


@dataclass(frozen=True)
class Anomaly:
    """One event. Indices count the samples given, `end_index` is inclusive, `score` is 1 at the limit of its grade, suspect or alarm."""

    start_index: int
    end_index: int
    kind: str
    score: float
    size: float = 0.0
    grade: str = "alarm"


def hampel(values: Floats, half_window: int = 5, limit: float = 5.0) -> tuple[Flags, Floats]:
    """Hampel's identifier over a centred window.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Residuals or raw values; NaN is not allowed.
    half_window : int
        Samples on each side.
    limit : float
        Departure from the window's median in robust standard deviations: the larger one of the window and of
        all departures.

    Returns
    -------
    flagged : ndarray of bool, shape (n,)
    score : ndarray, shape (n,)
        Departure over its limit, signed.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.sin(np.arange(100) / 9.0)
    >>> x[40] += 3.0
    >>> np.flatnonzero(hampel(x)[0]).tolist()
    [40]
    """
    n = values.size
    if n < 2 * half_window + 1:
        return np.zeros(n, dtype=bool), np.zeros(n)
    padded = np.pad(values, half_window, mode="reflect")
    windows = sliding_window_view(padded, 2 * half_window + 1)
    centre = np.median(windows, axis=1)
    departure = values - centre
    nearby = _MAD_TO_SIGMA * np.median(np.abs(windows - centre[:, None]), axis=1)
    usual = max(_MAD_TO_SIGMA * float(np.median(np.abs(departure))), _resolution(values), 1e-300)
    # What a series does often (weekends, pumping days) is no anomaly: the usual tail is a hurdle as well.
    common, rare = np.quantile(np.abs(departure), (0.90, 0.98))
    growth = min(rare / max(common, 1e-300), 2.5)
    usual = max(usual, 1.25 * rare * growth**2 / limit)
    scale = np.maximum(nearby, usual)
    score = departure / (limit * scale)
    return np.abs(score) > 1.0, score


def _resolution(values: Floats) -> float:
    """Smallest frequent step between unlike values: the instrument's last digit."""
    if values.size < 3:
        return 0.0
    steps = np.abs(np.diff(values))
    steps = steps[steps > 1e-9 * max(float(np.abs(values).max()), 1e-300)]
    return float(np.quantile(steps, 0.02)) if steps.size else 0.0


def _trailing_median(values: Floats, window: int) -> Floats:
    """Median of the `window` samples before each sample; NaN where there are fewer."""
    out = np.full(values.size, np.nan)
    if values.size > window:
        out[window:] = np.median(sliding_window_view(values, window)[:-1], axis=1)
    return out


def season_lags(ordinate: Floats, is_time: bool) -> tuple[int, ...]:
    """Lags in samples of one and seven civil days, for a sub-daily series in seconds; none otherwise."""
    if not is_time or ordinate.size < 2:
        return ()
    interval = float(np.median(np.diff(ordinate[: FIRST_SEPARATIONS + 1])))
    if not 0.0 < interval <= 6 * 3600.0:
        return ()
    day = round(86400.0 / interval)
    return day, 7 * day


def _expectations(values: Floats, settings: AnomalySettings, lags: Sequence[int]) -> Floats:
    """Departures of every sample from its competing expectations, shape (n, candidates)."""
    level = _trailing_median(values, settings.level_window)
    last = np.concatenate(([np.nan], values[:-1]))
    slope = np.concatenate(([np.nan, np.nan], 2.0 * values[1:-1] - values[:-2]))[: values.size]
    candidates = [values - level, values - last, values - slope]
    for lag in (lag for lag in lags if lag < values.size):
        difference = np.concatenate((np.zeros(lag), values[lag:] - values[:-lag]))
        left = difference - _trailing_median(difference, settings.level_window)
        left[: 2 * lag] = np.nan  # one season is no habit
        candidates.append(left)
    return np.column_stack(candidates)


def _choose_departure(departures: Floats, history: int, stride: int = 64) -> Floats:
    """For each block of samples the departures from whichever expectation did best before it."""
    n = departures.shape[0]
    chosen = departures[:, 0].copy()
    for start in range(stride, n, stride):
        past = np.abs(departures[max(0, start - history) : start])
        enough = np.isfinite(past).sum(axis=0) >= 30
        if not enough.any():
            continue
        typical = np.full(past.shape[1], np.inf)
        for column in np.flatnonzero(enough):
            finite = past[np.isfinite(past[:, column]), column]
            typical[column] = np.median(finite) + 0.25 * np.quantile(finite, 0.99)
        block = slice(start, start + stride)
        chosen[block] = departures[block, int(np.argmin(typical))]
    return chosen


def _name_kinds(values: Floats, found: list[Anomaly], settings: AnomalySettings) -> list[Anomaly]:
    """Tell spikes from level shifts by the samples that had come in by the end of the departure."""
    named = []
    for anomaly in found:
        before = values[max(0, anomaly.start_index - settings.shift_samples) : anomaly.start_index]
        after = values[anomaly.end_index + 1 : anomaly.end_index + 1 + settings.shift_samples]
        inside = values[anomaly.start_index : anomaly.end_index + 1]
        level = float(np.median(before)) if before.size else float(values[0])
        size = float(inside[np.argmax(np.abs(inside - level))] - level)
        kind = "spike"
        if after.size >= settings.shift_samples // 2:
            remains = float(np.median(after)) - level
            if abs(remains) > 0.5 * abs(size):
                kind, size = "level_shift", remains
        named.append(replace(anomaly, kind=kind, size=size))
    return named


def find_frozen(values: Floats, settings: AnomalySettings | None = None) -> list[Anomaly]:
    """Runs of equal values far longer than any before them.

    The alarm is raised at the sample with which the run becomes too long. A series that repeats itself by
    nature (a dry rain gauge, a coarse reading) has long runs from the start and raises none.
    """
    chosen = settings or AnomalySettings()
    if values.size < chosen.probation:
        return []
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values) != 0.0)))
    lengths = np.diff(np.concatenate((starts, [values.size])))
    longest = np.maximum.accumulate(np.concatenate(([1], lengths[:-1])))
    need = np.maximum(chosen.frozen_minimum, np.ceil(chosen.frozen_factor * longest)).astype(np.int64)
    hits = np.flatnonzero((lengths >= need) & (starts + need > chosen.probation))
    return [
        Anomaly(
            int(starts[i] + need[i] - 1),
            int(starts[i] + lengths[i] - 1),
            "frozen",
            float(lengths[i] / need[i]),
        )
        for i in hits
    ]


def find_gaps_in(
    ordinate: Floats, settings: AnomalySettings | None = None, declared: float = 0.0, *, causal: bool = False
) -> list[Anomaly]:
    """Missing patterns: a silence longer than `gap_factor` intervals that are usual around it, and than what is a habit.

    The alarm's index is the first sample after the silence. Silences are measured in local intervals (the running
    median of separations), so that a record that was daily and then hourly, or hourly and then live, has none.

    Parameters
    ----------
    ordinate : ndarray, shape (n,)
        Ascending times or plain numbers.
    settings : AnomalySettings, optional
    declared : float
        Interval that the datastream promises, unit of the ordinate; faster samples do not shorten it. 0 = unknown.
    causal : bool
        Take what is usual from the separations before each silence alone, not from those around it.
    """
    chosen = settings or AnomalySettings()
    if ordinate.size < chosen.probation:
        return []
    separations = np.diff(ordinate)
    if causal:
        usual = np.nan_to_num(_trailing_median(separations, _USUAL_SEPARATIONS), nan=np.inf)
    else:
        usual = local_interval_s(ordinate, _USUAL_SEPARATIONS // 2)
    silence = separations / np.maximum(np.maximum(usual, declared), 1e-300)
    need = np.maximum(chosen.gap_factor, 2.0 * _usual_silence(silence, chosen.gap_factor))
    hits = np.flatnonzero(silence > need)
    hits = hits[hits >= chosen.probation]
    return [Anomaly(int(i + 1), int(i + 1), "gap", float(silence[i] / need[i])) for i in hits]


def _usual_silence(silence: Floats, from_factor: float, habit: int = 3) -> Floats:
    """The third longest silence before each: what happened three times is a habit, one long gap hides no shorter one after it."""
    usual = np.ones(silence.size)
    known: list[float] = []
    for at in np.flatnonzero(silence > from_factor):
        insort(known, float(silence[at]))
        if len(known) >= habit:
            usual[at + 1 :] = known[-habit]
    return usual


def detect_anomalies(
    ordinate: Floats,
    values: Floats,
    is_time: bool = True,
    settings: AnomalySettings | None = None,
) -> list[Anomaly]:
    """Causal detection over one series, missing patterns included.

    Parameters
    ----------
    ordinate : ndarray, shape (n,)
        Seconds since any epoch, or a plain ordinate (year, counter) with ``is_time=False``; ascending.
    values : ndarray, shape (n,)
        Finite values.
    is_time : bool
        Whether days exist on the ordinate.
    settings : AnomalySettings, optional

    Returns
    -------
    list of Anomaly
        In order of `start_index`; empty for short series.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(3)
    >>> x = rng.normal(size=500)
    >>> x[300] += 40.0
    >>> [(a.start_index, a.kind) for a in detect_anomalies(np.arange(500.0), x, is_time=False)]
    [(300, 'spike')]
    """
    found = detect_in_values(ordinate, values, is_time, settings) + find_gaps_in(ordinate, settings, causal=True)
    return sorted(found, key=lambda anomaly: (anomaly.start_index, anomaly.kind))


def detect_in_values(
    ordinate: Floats, values: Floats, is_time: bool = True, settings: AnomalySettings | None = None
) -> list[Anomaly]:
    """As :func:`detect_anomalies` without missing patterns: spikes, level shifts and frozen values."""
    chosen = settings or AnomalySettings()
    n = values.size
    if n <= chosen.probation:
        return []
    about = values - values[0]
    expected = _choose_departure(_expectations(about, chosen, season_lags(ordinate, is_time)), chosen.history)
    floor = chosen.resolution_factor * _trailing_resolution(about, chosen)
    quiet = min(2 * samples_a_day(ordinate, is_time, chosen.habits), chosen.quiet)
    beside = [("expected", 1, np.abs(expected))]
    left = departures(ordinate, about, is_time, chosen.habits, beside=beside, floor=floor, quiet=quiet)
    events = _join([item for item in left if item.start >= chosen.probation], quiet)
    named = [_named(values, event, chosen) for event in events]
    return sorted(
        _with_frozen(values, named, find_frozen(values, chosen)), key=lambda anomaly: (anomaly.start_index, anomaly.kind)
    )


def _with_frozen(values: Floats, events: Sequence[Anomaly], frozen: Sequence[Anomaly]) -> list[Anomaly]:
    """One alarm a frozen run: at the event that its standing still raised already, or at the sample that makes it too long."""
    found = list(events)
    for run in frozen:
        unlike = np.flatnonzero(values[: run.start_index] != values[run.start_index])
        begin = int(unlike[-1]) + 1 if unlike.size else 0
        raised = [item for item in found if begin < item.start_index < run.start_index]
        # Where the run ends the value jumps to where it should have been: that is the run's end, no event of its own.
        found = [item for item in found if item not in raised and not run.start_index <= item.start_index <= run.end_index + 1]
        found.append(replace(run, start_index=min([item.start_index for item in raised], default=run.start_index)))
    return found


def _join(left: Sequence[Departure], quiet: int) -> list[list[Departure]]:
    """Departures of several statistics that touch, or lie less than `quiet` samples apart, are one event and one alarm."""
    events: list[list[Departure]] = []
    end = -1
    for item in sorted(left, key=lambda departure: departure.start):
        if events and item.start <= end + quiet:
            events[-1].append(item)
        else:
            events.append([item])
        end = max(end, item.end)
    return events


def _named(values: Floats, event: Sequence[Departure], settings: AnomalySettings) -> Anomaly:
    """Name an event by what alarmed first and by the samples that had come in by its end."""
    first = min(event, key=lambda item: (item.start, item.span))
    alarms = [item for item in event if not item.suspect]
    score, grade = max(item.score for item in alarms or event), "alarm" if alarms else "suspect"
    alarm = Anomaly(first.start, max(item.end for item in event), "spike", score, grade=grade)
    if all(item.channel == "roughness" for item in event):
        return replace(alarm, kind="variance")
    named = _name_kinds(values, [alarm], settings)[0]
    if first.span == 1:
        return named
    inside = values[max(0, first.start - first.span + 1) : first.start + 1]
    before = values[max(0, first.start - 3 * first.span) : max(1, first.start - first.span)]
    earlier = values[max(0, first.start - 12 * first.span) : max(1, first.start - 9 * first.span)]
    lately, in_all = float(np.median(inside) - np.median(before)), float(np.median(inside) - np.median(earlier))
    creeps = first.channel == "level" and abs(lately) < 0.5 * abs(in_all)
    return replace(named, kind="drift", size=in_all) if creeps else replace(named, kind="level_shift")


def _trailing_resolution(values: Floats, settings: AnomalySettings, stride: int = 64) -> Floats:
    """Instrument resolution as known from the past at each sample."""
    out = np.zeros(values.size)
    for start in range(stride, values.size, stride):
        out[start : start + stride] = _resolution(values[max(0, start - settings.history) : start])
    return out
