"""Times and numbers on their way out: RFC 3339 in UTC, floats by their shortest exact decimal, absent is null.

This file finishes with `number`.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any


def stamp(moment: datetime | None) -> str | None:
    """Return `2026-01-02T03:04:05Z`, with microseconds only where there are some."""
    if moment is None:
        return None
    # Most come from the database in UTC: naive printing is twice as fast there as replacing the offset.
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.replace(tzinfo=None).isoformat()}Z"


def day(value: date | None) -> str | None:
    """Return `2026-01-02`."""
    return None if value is None else value.isoformat()


def number(value: float | None) -> float | None:
    """Return a float that JSON can carry: NaN and infinities are unknown, so null."""
    return None if value is None or not math.isfinite(value) else float(value)


def plain(value: Any) -> Any:
    """Return a JSON value: times as RFC 3339, numbers that are no numbers as null, all the way down."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date):
        return day(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value
