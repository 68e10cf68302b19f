"""Counters of water meters: what they gained from reading to reading, and where nobody can tell.

A totaliser only grows. It falls back to zero when its last digit is full (rollover), when the meter is swapped (which the event log
says), or when somebody turned it back. A counter that stands while water runs is a fault, and what it missed is unknown, never zero.
This file finishes with `daily_volumes`.

References: OIML R 49-1:2013, 6.7 (indicating devices, number of digits); domain notes of GroundWatch, scenario 17.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats

HOUR_S = 3600.0


class Turn(IntEnum):
    """What happened between a reading and the one before."""

    FIRST = 0
    NORMAL = 1
    ROLLOVER = 2
    SWAP = 3
    DECREASE = 4
    GLITCH = 5
    FROZEN = 6
    MISSING = 7


@dataclass(frozen=True)
class TotaliserSettings:
    """How a counter is judged.

    Attributes
    ----------
    capacity : float or None
        First number that the counter cannot show, e.g. 1,000,000 for six digits; None = the power of ten above the reading before.
    rollover_share : float
        A fall is a rollover when it begins in the last such share of the capacity and ends in the first.
    frozen_s : float
        How long a counter may stand while its companion moves.
    glitch_readings : int
        So many low readings in a row, after which the counter goes on where it was, are errors of transmission.
    plausible_factor : float
        A gain is plausible up to this many times the greatest ordinary gain per second.
    """

    capacity: float | None = None
    rollover_share: float = 0.05
    frozen_s: float = 48 * HOUR_S
    glitch_readings: int = 3
    plausible_factor: float = 5.0


@dataclass(frozen=True)
class Judgement:
    """What a counter gained before each reading (NaN = unknown) and how it turned there."""

    gain: Floats
    turn: NDArray[np.int8]


def capacity_of(reading: float) -> float:
    """Return the first power of ten above a reading: 999,998 stands on six digits.

    Examples
    --------
    >>> capacity_of(999_998.0)
    1000000.0
    """
    return float(10.0 ** (np.floor(np.log10(reading)) + 1.0)) if reading >= 1.0 else 10.0


def judge(
    seconds: Floats,
    reading: Floats,
    *,
    swaps: Sequence[tuple[float, float | None]] = (),
    moving: NDArray[np.bool_] | None = None,
    settings: TotaliserSettings | None = None,
) -> Judgement:
    """Judge a counter's readings.

    Parameters
    ----------
    seconds : ndarray, shape (n,)
        Ascending.
    reading : ndarray, shape (n,)
        NaN = missing: stepped over, the next gain covers it.
    swaps : sequence of (seconds, first reading or None)
        Logged changes of the meter; without a first reading the new one is taken to begin at 0.
    moving : ndarray of bool, shape (n,), optional
        Whether a companion (flow, temperature, pump) says that water runs at each reading; None = there is no companion, and a
        counter that stands has gained nothing.
    settings : TotaliserSettings, optional

    Returns
    -------
    Judgement
        NaN gains: the first reading, a fall with no record, a stand that the companion contradicts, and a swap whose new counter
        says more than could have run.

    Examples
    --------
    >>> import numpy as np
    >>> judge(np.array([0.0, 3600.0]), np.array([999_998.0, 12.0])).gain.tolist()
    [nan, 14.0]
    """
    chosen = settings or TotaliserSettings()
    gain = np.full(reading.size, np.nan)
    turn = np.full(reading.size, Turn.MISSING, dtype=np.int8)
    known = np.flatnonzero(np.isfinite(reading))
    if known.size == 0:
        return Judgement(gain, turn)
    turn[known[0]] = Turn.FIRST
    rises = np.diff(reading[known])
    ordinary = known[1:][rises >= 0.0]
    turn[ordinary], gain[ordinary] = Turn.NORMAL, rises[rises >= 0.0]
    counter = _Counter(seconds[known], reading[known], _changes(seconds[known], swaps), chosen)
    done = 0
    for i in sorted({*(np.flatnonzero(rises < 0.0) + 1).tolist(), *counter.changes}):
        if i > done:
            done = counter.judge(i, known, gain, turn)
    if moving is not None:
        _mark_frozen(seconds, reading, moving, chosen.frozen_s, gain, turn)
    return Judgement(gain, turn)


def _ordinary_rate(seconds: Floats, reading: Floats) -> float:
    """Greatest ordinary gain per second: the 99th percentile of the rises; infinite where too few are known."""
    steps, gains = np.diff(seconds), np.diff(reading)
    rises = gains[(gains >= 0.0) & (steps > 0.0)] / steps[(gains >= 0.0) & (steps > 0.0)]
    rises = rises[rises > 0.0]
    return float(np.quantile(rises, 0.99)) if rises.size >= 10 else np.inf


def _changes(seconds: Floats, swaps: Sequence[tuple[float, float | None]]) -> dict[int, float | None]:
    """Logged swaps by the first reading after each."""
    found: dict[int, float | None] = {}
    for at, first in swaps:
        position = int(np.searchsorted(seconds, at, side="left"))
        if 0 < position < seconds.size:
            found[position] = first
    return found


class _Counter:
    """The known readings of one counter, and the judgement of those that do not simply go up."""

    def __init__(
        self, seconds: Floats, reading: Floats, changes: Mapping[int, float | None], settings: TotaliserSettings
    ) -> None:
        self._seconds, self._reading, self._settings = seconds, reading, settings
        self._greatest = settings.plausible_factor * _ordinary_rate(seconds, reading)
        self.changes = changes

    def _rise(self, first: int, last: int) -> float:
        return float(self._reading[last] - self._reading[first])

    def _plausible(self, first: int, last: int) -> float:
        """Most that can have run between two readings."""
        return self._greatest * float(self._seconds[last] - self._seconds[first])

    def judge(self, i: int, known: NDArray[np.intp], gain: Floats, turn: NDArray[np.int8]) -> int:
        """Judge the i-th known reading against the one before; return the last that was judged with it."""
        row = known[i]
        if i in self.changes:
            turn[row], gain[row] = Turn.SWAP, self._after_swap(i)
            return i
        rolled = self._rolled_over(i)
        if rolled is not None:
            turn[row], gain[row] = Turn.ROLLOVER, rolled
            return i
        resumed = self._resumes(i)
        if resumed is not None:
            turn[known[i:resumed]], gain[known[i:resumed]] = Turn.GLITCH, np.nan
            turn[known[resumed]], gain[known[resumed]] = Turn.NORMAL, self._rise(i - 1, resumed)
            return resumed
        turn[row], gain[row] = Turn.DECREASE, np.nan
        return i

    def _after_swap(self, i: int) -> float:
        """What the new counter says has run; NaN where that is more than can have."""
        first = self.changes[i]
        fresh = float(self._reading[i]) - (first or 0.0)
        told = first is not None or self._rise(i - 1, i) < 0.0
        return fresh if told and 0.0 <= fresh <= self._plausible(i - 1, i) else np.nan

    def _rolled_over(self, i: int) -> float | None:
        before, now = float(self._reading[i - 1]), float(self._reading[i])
        capacity = self._settings.capacity or capacity_of(before)
        margin = self._settings.rollover_share * capacity
        gained = now - before + capacity
        fits = before >= capacity - margin and 0.0 <= now <= margin and gained <= self._plausible(i - 1, i)
        return gained if fits else None

    def _resumes(self, i: int) -> int | None:
        """The reading at which the counter goes on where it was, if it soon does."""
        for later in range(i + 1, min(i + 1 + self._settings.glitch_readings, self._reading.size)):
            if later in self.changes:
                return None
            if 0.0 <= self._rise(i - 1, later) <= self._plausible(i - 1, later):
                return later
        return None


def _mark_frozen(
    seconds: Floats, reading: Floats, moving: NDArray[np.bool_], frozen_s: float, gain: Floats, turn: NDArray[np.int8]
) -> None:
    """Mark every stand of at least `frozen_s` in which the companion moved for more than half of the readings."""
    known = np.flatnonzero(np.isfinite(reading))
    if known.size < 2:
        return
    begins = np.flatnonzero(np.concatenate(([True], np.diff(reading[known]) != 0.0)))
    for begin, end in zip(begins, [*begins[1:], known.size], strict=True):
        stand = known[begin + 1 : end]
        if stand.size and seconds[stand[-1]] - seconds[known[begin]] >= frozen_s and moving[stand].mean() > 0.5:
            turn[stand] = Turn.FROZEN
            gain[stand] = np.nan


@dataclass(frozen=True)
class Volume:
    """What ran in [start, end), seconds; None = unknown. `turns` are the kinds of turn other than normal that the day holds."""

    start_s: float
    end_s: float
    value: float | None
    turns: tuple[Turn, ...]
    spread: bool


def daily_volumes(seconds: Floats, judgement: Judgement, edges_s: Floats, *, spread_from_s: float = 6 * HOUR_S) -> list[Volume]:
    """Volumes of whole days from gains, each gain shared by the time that it spans.

    Parameters
    ----------
    seconds : ndarray, shape (n,)
        Times of the readings.
    judgement : Judgement
    edges_s : ndarray, shape (days + 1,)
        Midnights; days that the readings do not cover from edge to edge are left out.
    spread_from_s : float
        A gain that spans so long was shared over more than is known: the day is marked `spread`.

    Returns
    -------
    list of Volume
        A day that an unknown gain touches is unknown as a whole.
    """
    rows = np.flatnonzero(np.isin(judgement.turn, (Turn.MISSING, Turn.GLITCH), invert=True))
    if rows.size < 2:
        return []
    time = seconds[rows]
    begin, end, gain, turn = time[:-1], time[1:], judgement.gain[rows[1:]], judgement.turn[rows[1:]]
    volumes = []
    for low, high in itertools.pairwise(edges_s):
        if low < time[0] or high > time[-1]:
            continue
        part = slice(int(np.searchsorted(end, low, side="right")), int(np.searchsorted(begin, high, side="left")))
        share = (np.minimum(end[part], high) - np.maximum(begin[part], low)) / (end[part] - begin[part])
        total = float((gain[part] * share).sum())
        unusual = tuple(Turn(int(kind)) for kind in np.unique(turn[part]) if kind != Turn.NORMAL)
        spread = bool(np.any((end[part] - begin[part] >= spread_from_s) & (share < 1.0)))
        volumes.append(Volume(float(low), float(high), None if np.isnan(total) else total, unusual, spread))
    return volumes


@dataclass(frozen=True)
class Balance:
    """A day's flow, integrated, against what the counter gained."""

    start_s: float
    end_s: float
    flow: float
    counter: float
    agrees: bool


def flow_against_counter(
    seconds: Floats,
    rate_per_h: Floats,
    volumes: Sequence[Volume],
    *,
    tolerance: float = 0.03,
    least: float = 1.0,
    largest_gap_s: float = 2 * HOUR_S,
) -> list[Balance]:
    """Compare days whose counter is known with the trapezoidal integral of the flow.

    Parameters
    ----------
    seconds, rate_per_h : ndarray, shape (m,)
        Flow, per hour; finite.
    volumes : sequence of Volume
        In the flow's unit of volume.
    tolerance : float
        Relative difference that is still agreement.
    least : float
        Absolute difference that is.
    largest_gap_s : float
        Days in which the flow is silent for longer, at their edges too, cannot be told and are left out.
    """
    found = []
    total = np.concatenate(([0.0], np.cumsum(np.diff(seconds) * (rate_per_h[1:] + rate_per_h[:-1]) / 2.0 / HOUR_S)))
    for volume in volumes:
        if volume.value is None or seconds.size < 2:
            continue
        low, high = np.searchsorted(seconds, (volume.start_s, volume.end_s))
        inside = seconds[max(low - 1, 0) : high + 1]
        covered = inside.size > 1 and inside[0] <= volume.start_s + HOUR_S and inside[-1] >= volume.end_s - HOUR_S
        if not covered or float(np.diff(inside).max()) > largest_gap_s:
            continue
        flow = float(np.interp(volume.end_s, seconds, total) - np.interp(volume.start_s, seconds, total))
        allowed = max(least, tolerance * max(abs(flow), abs(volume.value)))
        found.append(Balance(volume.start_s, volume.end_s, flow, volume.value, abs(flow - volume.value) <= allowed))
    return found
