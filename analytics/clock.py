"""Clocks of devices: ahead of ours, off by a whole time zone, drifting.

What a device says is compared with when it was received. A device that sends at once has a small, steady delay; one that sends what it
had buffered has delays that grow with age. A delay that equals a zone's offset and stays the same from receipt to receipt is a zone
taken for another. This file finishes with `clock_offset`.

References: RFC 5905 (offset and delay); domain notes of GroundWatch (UTC and +08:00 taken for each other).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats

DAY_S = 86400.0
ZONE_TOLERANCE_S = 600.0
"""How near to a zone's offset a delay must be to be taken for it."""


def ahead_of_receipt(seconds: Floats, received_s: Floats, tolerance_s: float = 600.0) -> NDArray[np.bool_]:
    """Which samples were made after they were received, by more than the tolerance?"""
    return np.asarray(seconds > received_s + tolerance_s)


def shifted_by_zone(
    seconds: Floats, received_s: Floats, *, offset_s: float = 8 * 3600.0, tolerance_s: float = ZONE_TOLERANCE_S, run: int = 3
) -> NDArray[np.bool_]:
    """Which samples are early or late by exactly one zone's offset: local time sent as UTC, or the other way round?

    Parameters
    ----------
    seconds, received_s : ndarray, shape (n,)
        What the device said and when we received it, in the order of `seconds`.
    offset_s : float
        The zone's offset from UTC; 8 h for Asia/Shanghai.
    tolerance_s : float
        How near to the offset a delay must be.
    run : int
        Fewest receipts one after the other. Only the newest sample of a receipt tells of the clock, the others waited for it; and the
        receipts must take their time as the samples did: a buffer that is sent at once passes through every delay.

    Examples
    --------
    >>> import numpy as np
    >>> sent = np.arange(6) * 3600.0
    >>> shifted_by_zone(np.where(np.arange(6) > 2, sent + 28800, sent), sent + 30).tolist()
    [False, False, False, True, True, True]
    """
    found = np.zeros(seconds.size, dtype=np.bool_)
    if not (np.abs(np.abs(received_s - seconds) - offset_s) <= tolerance_s).any():
        return found  # as nearly always
    receipts, last = np.unique(received_s[::-1], return_index=True)
    made = seconds[::-1][last]
    delay = receipts - made
    for sign in (1.0, -1.0):
        rows = np.flatnonzero(np.abs(sign * delay - offset_s) <= tolerance_s)
        for group in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            if group.size >= run and np.ptp(receipts[group]) >= 0.5 * np.ptp(made[group]):
                found |= np.isin(received_s, receipts[group])
    return found


@dataclass(frozen=True)
class ClockOffset:
    """How far a device's clock is ahead of ours at its last sample, and how fast it drifts; None = cannot tell."""

    offset_s: float | None
    drift_s_per_d: float | None
    samples: int


def clock_offset(seconds: Floats, received_s: Floats, *, most_delay_s: float = 6 * 3600.0, least: int = 8) -> ClockOffset:
    """Estimate a device's clock from samples that were sent at once.

    Parameters
    ----------
    seconds, received_s : ndarray, shape (n,)
        Device time and time of receipt. Only the newest sample of each receipt counts, and none older than `most_delay_s`: the rest
        was buffered and says nothing of the clock, unless it is late by just the zone's offset from receipt to receipt.
    most_delay_s : float
    least : int
        Fewest such samples.

    Returns
    -------
    ClockOffset
        Offset is the median of (device - receipt) over the newest quarter, so the delay of the line counts as the clock's being
        behind; drift is Theil and Sen's slope over at least two days.
    """
    order = np.argsort(seconds, kind="stable")
    device, receipt = seconds[order], received_s[order]
    newest = np.concatenate((np.diff(receipt) > 0.0, [True])) if device.size else np.zeros(0, dtype=np.bool_)
    shifted = shifted_by_zone(device, receipt)
    rows = np.flatnonzero(newest & ((np.abs(receipt - device) <= most_delay_s) | shifted))
    if rows.size < (3 if shifted.any() else least):
        return ClockOffset(None, None, int(rows.size))
    difference = device[rows] - receipt[rows]
    tail = max(least, rows.size // 4)
    offset = float(np.median(difference[-tail:]))
    span_d = float(receipt[rows[-1]] - receipt[rows[0]]) / DAY_S
    drift = _slope(receipt[rows] / DAY_S, difference) if span_d >= 2.0 else None
    return ClockOffset(offset, drift, int(rows.size))


def _slope(days: Floats, seconds: Floats, pairs: int = 400) -> float:
    """Theil and Sen's slope over at most `pairs` points evenly taken."""
    chosen = np.unique(np.linspace(0, days.size - 1, min(days.size, pairs)).round().astype(np.intp))
    x, y = days[chosen], seconds[chosen]
    first, second = np.triu_indices(x.size, 1)
    apart = x[second] - x[first]
    return float(np.median((y[second] - y[first])[apart > 0.0] / apart[apart > 0.0]))
