"""Quality control of the newest samples of many datastreams at once: can it be told from a few neighbours that nothing is found in them?

`examine` judges a window of one datastream and sees as far back as its longest test. Of a sample that comes at the end of a record that
is not needed in most cases: a value within all ranges that moved lately is well whatever lies before. What cannot be told that way is
left to `examine`, so that both say the same. This file finishes with `doubtful`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.clock import ZONE_TOLERANCE_S
from analytics.quality_control import Checks, Pair
from analytics.sampling import Floats

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Screen:
    """What samples of one datastream must keep to, in its unit, for `examine` to find nothing; infinite or NaN = not tested.

    Attributes
    ----------
    figures : tuple of float
        Least and greatest value, least step of a spike, least rate (a second), steps of a stand (0 = not tested), its tolerance,
        offset of the zone that delays are held against (s).
    months : ndarray, shape (12, 2), or None
        Least and greatest value by month, NaN = none.
    """

    figures: tuple[float, ...]
    months: Floats | None = None

    @property
    def zone_s(self) -> float:
        """Offset of the local zone in seconds, 0 where none is known."""
        return 0.0 if np.isnan(self.figures[-1]) else self.figures[-1]


def screen_of(checks: Checks) -> Screen | None:
    """Return what a datastream's samples must keep to, or None where a test looks at more than a few neighbours of each."""
    if checks.totaliser is not None or checks.uncompensated or any(value is not None for value in checks.attenuated):
        return None
    spans = (checks.fail_span, checks.suspect_span)
    months = None
    if checks.months:
        months = np.full((12, 2), np.nan)
        for month, span in checks.months.items():
            months[month - 1] = [np.nan if bound is None else bound for bound in span]
    return Screen(
        (
            max((low for low, _ in spans if low is not None), default=-np.inf),
            min((high for _, high in spans if high is not None), default=np.inf),
            _least(checks.spike),
            _least(checks.rate_per_h) / 3600.0,
            float(checks.flat_samples) if np.isfinite(_least(checks.flat_h)) else 0.0,
            checks.flat_tolerance,
            3600.0 * checks.zone_offset_h if checks.zone_offset_h else np.nan,
        ),
        months,
    )


def _least(pair: Pair) -> float:
    return min((value for value in pair if value is not None), default=np.inf)


@dataclass(frozen=True)
class Rows:
    """Samples of many datastreams, one after the other, each in time order.

    Attributes
    ----------
    place : int (n,)
        Which datastream a sample belongs to, ascending.
    seconds, received_s, values : float64 (n,)
        NaN = missing value.
    month : int (n,)
        1 to 12, local.
    fresh : bool (n,)
        True from the first changed sample of each on.
    begins : bool (datastreams,)
        True where the record has no sample before those that are here.
    """

    place: NDArray[np.intp]
    seconds: Floats
    received_s: Floats
    values: Floats
    month: NDArray[np.intp]
    fresh: Bools
    begins: Bools

    @property
    def judged(self) -> Bools:
        """Fresh samples and the one before each first of them: whether it stands out is told by the one that follows."""
        judged = self.fresh.copy()
        judged[:-1] |= self.fresh[1:] & (self.place[1:] == self.place[:-1])
        return judged


def doubtful(rows: Rows, screens: Sequence[Screen]) -> Bools:
    """Say of which datastreams `examine` might find something in the fresh samples, or in others because of them.

    Parameters
    ----------
    rows : Rows
        All samples from the first changed one of each datastream on, with two before it or all that there are.
    screens : sequence of Screen
        One a datastream.

    Returns
    -------
    ndarray of bool, shape (datastreams,)
        False is a proof that `examine` finds nothing in the fresh samples, on the whole record or on any window that holds them, and
        in all others what it found without them, if none was received after them. True says nothing.
    """
    doubt = np.zeros(len(screens), dtype=np.bool_)
    if not rows.values.size:
        return doubt
    low, high, spike, rate, stand, tolerance, zone = np.array([screen.figures for screen in screens]).T[:, rows.place]
    judged, same = rows.judged, rows.place[1:] == rows.place[:-1]
    step = np.where(same, np.diff(rows.values), np.nan)
    found = judged & ((rows.values < low) | (rows.values > high))
    found[1:-1] |= judged[1:-1] & (_departure(step) > spike[1:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        found[1:] |= judged[1:] & (np.abs(step / np.diff(rows.seconds)) > rate[1:])
    found |= rows.fresh & (stand > 0.0) & ~np.isnan(rows.values) & ~_moved(rows, step, stand, tolerance)
    found |= judged & (np.abs(np.abs(rows.received_s - rows.seconds) - zone) <= ZONE_TOLERANCE_S)
    found[1:] |= same & rows.fresh[1:] & ~np.isnan(zone[1:]) & _is_late(rows)
    doubt[rows.place[found]] = True
    for place, screen in enumerate(screens):
        if screen.months is not None:
            doubt[place] |= _is_unusual(rows, judged & (rows.place == place), screen.months)
    return doubt


def _is_late(rows: Rows) -> Bools:
    """Which samples but the first came in before the one that they follow? A clock is judged by the order of receipts.

    Fresh samples may have come together; with one that was there before, only a part of the same file did.
    """
    passed = np.diff(rows.received_s)
    return np.asarray(np.where(rows.fresh[:-1], passed < 0.0, passed <= 0.0))


def _departure(step: Floats) -> Floats:
    """How far each sample but the outermost stands out from both its neighbours; NaN beside a missing one."""
    before, after = step[:-1], step[1:]
    both = np.minimum(np.abs(before), np.abs(after))
    return np.where(before * after < 0.0, both, np.where(np.isnan(before * after), np.nan, 0.0))


def _moved(rows: Rows, step: Floats, stand: Floats, tolerance: Floats) -> Bools:
    """Which samples cannot end a stand: the value moved within the fewest samples of one, or the record is younger than that?"""
    at = np.arange(rows.values.size)
    size = np.abs(step)
    moved = np.where(tolerance[1:] > 0.0, size >= tolerance[1:], size > 0.0)
    last = np.maximum.accumulate(np.concatenate(([-1], np.where(moved, at[1:], -1))))
    first = np.searchsorted(rows.place, rows.place, side="left")
    lately = (last > at - stand) & (last > first)
    return np.asarray(lately | (rows.begins[rows.place] & (at - first < stand)))


def _is_unusual(rows: Rows, mine: Bools, months: Floats) -> bool:
    low, high = months[rows.month[mine] - 1].T
    return bool(((rows.values[mine] < low) | (rows.values[mine] > high)).any())
