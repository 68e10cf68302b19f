"""How long a station was not seen: an all-clear needs coverage, and what was not looked at is counted in hours.

This file finishes with `Coverage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from domain.observation import TimeArray

PATIENCE = 2.0
"""A datastream is blind from this many intervals after its last usable observation on, until the next one."""

Span = tuple[datetime, datetime]
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def blind_spans(times: TimeArray, interval: timedelta, start: datetime, end: datetime) -> list[Span]:
    """Return the stretches of [start, end) in which nothing usable was known of a datastream.

    Parameters
    ----------
    times : datetime64[us] (n,)
        Times of usable observations, ascending; those before `start` count as what was known then.
    interval
        Expected interval; an observation is good for `PATIENCE` intervals.

    Examples
    --------
    >>> day = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    >>> [(a.hour, b.hour) for a, b in blind_spans(np.array(["2026-01-01T01", "2026-01-01T06"], "datetime64[us]"), timedelta(hours=1),
    ...  day, day + timedelta(hours=9))]
    [(0, 1), (3, 6), (8, 9)]
    """
    good_for = PATIENCE * interval
    spans: list[Span] = []
    seen_until = start
    for instant in times.astype("datetime64[us]").astype(np.int64).tolist():
        moment = _EPOCH + timedelta(microseconds=instant)
        if moment >= end:
            break
        if moment > seen_until:
            spans.append((seen_until, moment))
        seen_until = max(seen_until, moment + good_for)
    if seen_until < end:
        spans.append((seen_until, end))
    return spans


def hours_of(spans: Iterable[Span]) -> float:
    """Return the hours that any of the spans covers, each hour once."""
    total, until = timedelta(), None
    for begin, end in sorted(spans):
        first = begin if until is None else max(begin, until)
        if end > first:
            total += end - first
        until = end if until is None else max(until, end)
    return total / timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen of one station: `blind` maps each watched datastream to its blind spans; `unknown` have no interval to go by."""

    station: str
    start: datetime
    end: datetime
    blind: tuple[tuple[str, tuple[Span, ...]], ...]
    unknown: tuple[str, ...] = ()

    @property
    def blind_h(self) -> float:
        """Hours in which at least one watched datastream was blind."""
        return hours_of(span for _, spans in self.blind for span in spans)

    @property
    def blind_now(self) -> Sequence[str]:
        """Datastreams that are blind at the end."""
        return [code for code, spans in self.blind if spans and spans[-1][1] == self.end]

    @property
    def standing(self) -> str:
        """`clear` only where everything that is watched is seen now; else `unknown`."""
        return "unknown" if self.blind_now or self.unknown or not self.blind else "clear"
