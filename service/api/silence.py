"""Who is silent: nothing newer than the expected interval allows. Unknown is never ok: no interval means cannot tell.

This file finishes with `is_silent`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

MISSED_INTERVALS = 3.0
LEAST_GRACE = timedelta(minutes=2)


def expected_by(last_time: datetime, interval_s: float) -> datetime:
    """Return the time by which a further observation should have come: three intervals, and no less than two minutes."""
    return last_time + max(timedelta(seconds=MISSED_INTERVALS * interval_s), LEAST_GRACE)


def is_silent(last_time: datetime | None, interval_s: float | None, now: datetime) -> bool | None:
    """Is the datastream silent? None when no interval is declared; a datastream that never spoke is silent."""
    if interval_s is None:
        return None
    return last_time is None or expected_by(last_time, interval_s) < now
