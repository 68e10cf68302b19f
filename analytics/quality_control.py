"""Quality control of one datastream's window: which tests suit it, and what they say together.

Tests see values and times, never what came of them before, so that the same window gives the same flags whenever it is looked at. The
flags stand beside the values; what a source said itself is only ever made worse, and what a person said goes before both.
This file finishes with `examine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics import clock, qartod
from analytics.qartod import FlagArray, Span
from analytics.sampling import Floats
from analytics.totaliser import Judgement, TotaliserSettings, Turn, judge

REASONS = (
    "out_of_range",
    "climatology",
    "spike",
    "rate",
    "frozen",
    "attenuated",
    "clock",
    "uncompensated",
    "tamper",
    "totaliser",
    "gap",
)
"""Stable codes of what quality control finds; a verdict holds them as bits in this order."""
_BIT = {code: 1 << place for place, code in enumerate(REASONS)}
Pair = tuple[float | None, float | None]
"""Suspect and fail threshold."""


@dataclass(frozen=True)
class Checks:
    """What is tested in one datastream, in its unit; None or empty = not tested.

    Attributes
    ----------
    fail_span, suspect_span : (low, high)
    months : mapping of month (1 to 12) to a suspect span
    spike : (suspect, fail)
    rate_per_h : (suspect, fail)
    flat_h : (suspect, fail)
        How long a value may stand, over at least `flat_samples`; `flat_tolerance` is the range that counts as standing.
    attenuated : (suspect, fail)
        Least standard deviation over `attenuated_h`.
    gap_h : float or None
        The first sample after so long without any is suspect: an instrument that was away comes back unsettled.
    zone_offset_h : float or None
        Offset of the local zone that is looked for in delays.
    uncompensated : bool
        The sensor feels the air and nobody takes it off.
    totaliser : TotaliserSettings or None
    """

    fail_span: Span = (None, None)
    suspect_span: Span = (None, None)
    months: Mapping[int, Span] = field(default_factory=dict)
    spike: Pair = (None, None)
    rate_per_h: Pair = (None, None)
    flat_h: Pair = (None, None)
    flat_tolerance: float = 0.0
    flat_samples: int = 24
    attenuated: Pair = (None, None)
    attenuated_h: float = 24.0
    gap_h: float | None = None
    zone_offset_h: float | None = 8.0
    uncompensated: bool = False
    totaliser: TotaliserSettings | None = None

    @property
    def neighbours(self) -> int:
        """How many samples back and forth a sample reaches into the flags of others, however far apart they are."""
        return max(3, self.flat_samples) if _set(self.flat_h) else 3

    @property
    def memory_s(self) -> float:
        """How far back and forth a sample reaches into the flags of others."""
        hours = [value for value in self.flat_h if value is not None]
        hours += [self.attenuated_h] if any(value is not None for value in self.attenuated) else []
        hours += [self.gap_h] if self.gap_h is not None else []
        hours += [24.0 + self.totaliser.frozen_s / 3600.0] if self.totaliser is not None else []
        return 3600.0 * max([6.0, *hours])


@dataclass(frozen=True)
class Window:
    """Samples of one datastream in time order: seconds, when they were received, and values (NaN = missing)."""

    seconds: Floats
    received_s: Floats
    values: Floats
    month: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Verdict:
    """Flags of quality control with their reasons as bits, and what a counter did."""

    flags: FlagArray
    reasons: NDArray[np.uint32]
    counter: Judgement | None = None

    def codes(self, row: int) -> tuple[str, ...]:
        """Reasons of one sample, in the fixed order."""
        return codes_of(int(self.reasons[row]))


def codes_of(bits: int) -> tuple[str, ...]:
    """Return the reasons that bits stand for.

    Examples
    --------
    >>> codes_of(0b10100)
    ('spike', 'frozen')
    """
    return tuple(code for code, bit in _BIT.items() if bits & bit)


class _Sheet:
    """Where the tests write down what they find."""

    def __init__(self, values: Floats) -> None:
        self.flags: FlagArray = np.where(np.isnan(values), qartod.MISSING, qartod.GOOD).astype(np.uint8)
        self.reasons = np.zeros(values.size, dtype=np.uint32)

    def note(self, flags: FlagArray, code: str) -> None:
        bad = (flags == qartod.SUSPECT) | (flags == qartod.FAIL)
        self.reasons[bad] |= np.uint32(_BIT[code])
        self.flags = qartod.combine([self.flags, flags])

    def mark(self, rows: NDArray[np.bool_], flag: int, code: str) -> None:
        if rows.any():
            self.note(np.where(rows & (self.flags != qartod.MISSING), flag, qartod.GOOD).astype(np.uint8), code)


def _set(pair: Sequence[float | None]) -> bool:
    return any(value is not None for value in pair)


def examine(
    window: Window,
    checks: Checks,
    *,
    swaps: Sequence[tuple[float, float | None]] = (),
    moving: NDArray[np.bool_] | None = None,
) -> Verdict:
    """Run every test that the datastream asks for.

    Parameters
    ----------
    window : Window
    checks : Checks
    swaps : sequence of (seconds, first reading or None)
        Logged swaps of a meter.
    moving : ndarray of bool, shape (n,), optional
        Whether a companion says that water runs, for counters that stand.

    Returns
    -------
    Verdict
        Good where nothing was found; missing samples stay missing and have no reasons.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.arange(5) * 3600.0
    >>> verdict = examine(Window(at, at, np.array([1.0, 1.1, 9.0, 1.0, 1.2])), Checks(spike=(2.0, 5.0)))
    >>> verdict.flags.tolist(), verdict.codes(2)
    ([1, 1, 4, 1, 1], ('spike',))
    """
    sheet = _Sheet(window.values)
    _ranges(sheet, window, checks)
    _motion(sheet, window, checks)
    if checks.zone_offset_h:
        late = clock.shifted_by_zone(window.seconds, window.received_s, offset_s=3600.0 * checks.zone_offset_h)
        sheet.mark(late, qartod.SUSPECT, "clock")
    if checks.gap_h is not None and window.seconds.size > 1:
        after = np.concatenate(([False], np.diff(window.seconds) > 3600.0 * checks.gap_h))
        sheet.mark(after, qartod.SUSPECT, "gap")
    if checks.uncompensated:
        sheet.mark(np.ones(window.values.size, dtype=np.bool_), qartod.SUSPECT, "uncompensated")
    counter = None
    if checks.totaliser is not None:
        counter = judge(window.seconds, window.values, swaps=swaps, moving=moving, settings=checks.totaliser)
        sheet.mark(counter.turn == Turn.DECREASE, qartod.SUSPECT, "tamper")
        sheet.mark(counter.turn == Turn.GLITCH, qartod.FAIL, "totaliser")
        sheet.mark(counter.turn == Turn.FROZEN, qartod.SUSPECT, "frozen")
    return Verdict(sheet.flags, sheet.reasons, counter)


def stands(window: Window, threshold_s: float, samples: int, tolerance: float = 0.0) -> NDArray[np.bool_]:
    """Which samples are the end of a stand: all values alike since `threshold_s` before, and over no fewer than `samples` steps?

    Surveys and slow series repeat themselves by nature, so a stand counts from so many samples on. Unlike QARTOD's flat line it asks
    each sample for its own past alone, never for the interval of the record around it: what comes later changes nothing of it.

    Parameters
    ----------
    window : Window
        In time order; a missing value is stepped over.
    threshold_s : float
        How long a value may stand, in seconds.
    samples : int
        Fewest steps of a stand.
    tolerance : float
        Range from which a window is not flat, in the values' unit; 0 = only equal values are.

    Examples
    --------
    >>> import numpy as np
    >>> at = np.arange(6) * 3600.0
    >>> stands(Window(at, at, np.array([1.0, 2.0, 2.0, 2.0, 2.0, 3.0])), 7200.0, 2).tolist()
    [False, False, False, True, True, False]
    """
    rows = np.arange(window.values.size)
    first = np.minimum(np.searchsorted(window.seconds, window.seconds - threshold_s, side="right") - 1, rows - samples)
    told = first >= 0
    least, greatest = qartod.window_extremes(window.values, np.where(told, rows - first + 1, 1).astype(np.intp))
    extent = greatest - least
    return np.asarray(told & ((extent < tolerance) if tolerance > 0.0 else (extent == 0.0)))


def _ranges(sheet: _Sheet, window: Window, checks: Checks) -> None:
    if _set(checks.fail_span) or _set(checks.suspect_span):
        sheet.note(qartod.gross_range(window.values, checks.fail_span, checks.suspect_span), "out_of_range")
    if checks.months and window.month is not None:
        spans = np.full((12, 2), np.nan)
        for month, span in checks.months.items():
            spans[month - 1] = [np.nan if bound is None else bound for bound in span]
        sheet.note(qartod.climatology(window.values, window.month - 1, spans), "climatology")


def _motion(sheet: _Sheet, window: Window, checks: Checks) -> None:
    if _set(checks.spike):
        # By steps, not by the mean of the neighbours: these are not to blame for what stands between them.
        sheet.note(qartod.spike(window.values, *checks.spike, method="differential"), "spike")
    if _set(checks.rate_per_h):
        suspect, fail = (None if value is None else value / 3600.0 for value in checks.rate_per_h)
        sheet.note(qartod.rate_of_change(window.values, window.seconds, suspect, fail), "rate")
    if _set(checks.flat_h):
        for hours, flag in zip(checks.flat_h, (qartod.SUSPECT, qartod.FAIL), strict=True):
            if hours is not None:
                sheet.mark(stands(window, hours * 3600.0, checks.flat_samples, checks.flat_tolerance), flag, "frozen")
    if _set(checks.attenuated):
        flags = qartod.attenuated_signal(
            window.values,
            window.seconds,
            *checks.attenuated,
            test_period_s=3600.0 * checks.attenuated_h,
            min_period_s=2700.0 * checks.attenuated_h,
        )
        sheet.note(flags, "attenuated")
