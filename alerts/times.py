"""Which time a judgement is given, and which time what comes of it is dated by.

Reading takes time, and observations are committed meanwhile. A single time cannot serve both sides of that:

- What is **absent** is judged by a time from *before* the reading: whatever had been committed by then is read, so nothing is called
  silent, or too old to speak of the present, for want of an observation that was there. By a later time a station whose observations
  were committed between the reading and that time would be called silent.
- What is **recorded** is dated by a time from *after* the reading, asked for in the transaction that writes it, under the lock of its rule
  and scope: whatever was read had been committed by then. So no alert opens before the commit of an observation that it rests on, and
  two workers that wait for each other record in the order of their turns. It is asked for once a transaction and just before the
  writing, so that nothing is dated later than need be. An alert of a silence is recorded so too: the last observation that it names
  may be an old one that came in a moment ago.
- Nothing that befalls an alert is dated before what befell it last: a person's decision is given the time of its request and may have
  waited for an evaluation's turn, and the clock of a computer may be set back.

This file finishes with `Times`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from domain.alerting import AlertRecord

Clock = Callable[[], datetime]


def standing_at(now: datetime) -> Clock:
    """Return a clock that stands still: for history that is replayed, and for whoever names one time for all."""
    return lambda: now


def in_order(alert: AlertRecord, now: datetime) -> datetime:
    """Return when something befalls an alert: now, but never before what befell it last."""
    return max(now, alert.updated_at)


@dataclass(frozen=True, slots=True)
class Times:
    """The time as of which is judged, taken before anything is read, and the clock that tells when is recorded."""

    as_of: datetime
    clock: Clock

    @classmethod
    def of(cls, now: datetime, clock: Clock | None) -> Times:
        """Return the times of an evaluation that began at `now`; without a clock, time stands still."""
        return cls(now, clock or standing_at(now))
