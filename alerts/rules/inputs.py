"""What the kinds that look at several datastreams share: names of inputs, their values at one time, totals over extents.

A rule on several datastreams belongs to one of them, its anchor: that is the scope of its alerts. This file finishes with `judged_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.lifecycle import Trace
from alerts.rules.context import Context, climb, instant_of, moment_of, usable
from alerts.rules.definition import Ladder, Reader
from domain.errors import InputError
from domain.model import Datastream, split_datastream_code
from domain.observation import FloatArray, TimeArray

HERE = "{station}"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Watch:
    """What a rule looks at beside its anchor: whole codes, and properties of the anchor's own station (with `{station}`)."""

    codes: tuple[str, ...] = ()
    here: tuple[str, ...] = ()


def read_name(reader: Reader, name: str, value: Any) -> str:
    """Return a datastream's code, or `{station}:property[:channel]` for the station that the rule is about; `InputError`."""
    if not isinstance(value, str):
        raise reader.wrong(name, f"is {value!r}.", "write a datastream's code, or {station}:property")
    try:
        split_datastream_code(value.replace(HERE, "S"))
    except InputError as error:
        raise reader.wrong(
            name, f"is {value!r}, no datastream.", "write station:property[:channel], or {station}:property"
        ) from error
    return value


def watch_of(names: Sequence[str], anchor: str | None = None) -> Watch:
    """Return what is watched beside the anchor."""
    others = [name for name in dict.fromkeys(names) if name != anchor]
    return Watch(
        codes=tuple(name for name in others if HERE not in name),
        here=tuple(name.partition(":")[2] for name in others if HERE in name),
    )


def find_input(context: Context, name: str) -> Datastream | None:
    """Return the datastream that a name means here, or None."""
    return context.lookup(name.replace(HERE, context.station.code)) if context.lookup is not None else None


@dataclass(frozen=True, slots=True)
class Values:
    """Usable observations of one datastream, in time order; `end` is NaT for instants."""

    time: TimeArray
    result: FloatArray
    sigma: FloatArray
    end: TimeArray

    def at(self, times: TimeArray, patience: timedelta) -> tuple[FloatArray, FloatArray]:
        """Return value and sigma of the newest observation at each time, NaN where it is older than `patience` or there is none."""
        row = np.searchsorted(self.time, times, side="right") - 1
        there = row >= 0
        safe = np.where(there, row, 0)
        if not len(self.time):
            nothing = np.full(len(times), np.nan)
            return nothing, nothing.copy()
        known = there & (times - self.time[safe] <= np.timedelta64(patience // _TICK, "us"))
        return np.where(known, self.result[safe], np.nan), np.where(known, self.sigma[safe], np.nan)


def values_of(context: Context, datastream: Datastream, lookback: timedelta) -> Values:
    """Return the usable observations of an input from `lookback` before what is asked for, as of the context's sequence."""
    if context.series is None or datastream.datastream_id is None:
        raise TypeError("this rule reads other datastreams")
    begin = None if context.start is None else context.start - lookback
    series = context.series(datastream.datastream_id, begin, None)
    events = (
        [event for event in context.events if event.datastream in (None, datastream.code)]
        if _is_here(context, datastream)
        else []
    )
    good = usable(series, events)
    return Values(series.time[good], series.result[good], series.sigma[good], series.end[good])


def _is_here(context: Context, datastream: Datastream) -> bool:
    return datastream.station == context.station.code


def merged_times(context: Context, inputs: Sequence[Values], *, ends: bool = False) -> TimeArray:
    """Return the times from `context.start` on at which any input has something new: its observations, or the ends of their extents."""
    columns = [_ends_of(item) if ends else item.time for item in inputs]
    times = np.unique(np.concatenate(columns)) if columns else np.array([], dtype="datetime64[us]")
    if context.start is not None:
        times = times[times >= instant_of(context.start)]
    return times


def _ends_of(values: Values) -> TimeArray:
    return np.where(np.isnat(values.end), values.time, values.end)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of totals over extents: what was counted up to any time, and which part of the time was covered."""

    end: TimeArray
    counted: FloatArray
    covered: FloatArray

    @classmethod
    def of(cls, values: Values) -> Totals:
        """Return running sums of the values and of their extents (seconds), by the end of each."""
        end = _ends_of(values)
        order = np.argsort(end, kind="stable")
        seconds = (end - values.time).astype("timedelta64[us]").astype(np.float64) / 1e6
        return cls(end[order], np.concatenate(([0.0], np.cumsum(values.result[order]))),
                   np.concatenate(([0.0], np.cumsum(seconds[order]))))  # fmt: skip

    def between(self, begin: TimeArray, end: TimeArray) -> tuple[FloatArray, FloatArray]:
        """Return sum and covered seconds of the extents that end within (begin, end], for each pair."""
        first, last = np.searchsorted(self.end, begin, side="right"), np.searchsorted(self.end, end, side="right")
        return self.counted[last] - self.counted[first], self.covered[last] - self.covered[first]


def judged_rows(
    times: TimeArray,
    ladder: Ladder,
    value: FloatArray,
    *,
    sigma: FloatArray | None = None,
    sigmas: float = 0.0,
    blind: npt.NDArray[np.bool_] | None = None,
    reason: npt.NDArray[np.object_] | None = None,
    details: dict[str, FloatArray] | None = None,
) -> Trace:
    """Hold computed values against a ladder; a value that is NaN, or that `blind` marks, cannot be told for the `reason` given."""
    n = len(times)
    hidden = ~np.isfinite(value) if blind is None else blind | ~np.isfinite(value)
    spread = np.full(n, np.nan) if sigma is None else sigma
    known = np.isfinite(spread) if sigmas > 0 else np.ones(n, dtype=np.bool_)
    safe = np.where(hidden, np.nan, value)
    up, estimate = climb(ladder, safe, sigmas * np.where(np.isfinite(spread), spread, 0.0)), climb(ladder, safe)
    said = np.full(n, "", dtype=object) if reason is None else reason.copy()
    said[(estimate > 0) & (up == 0)] = "not_significant"
    said[(estimate > 0) & ~known] = "no_sigma"
    said[hidden & (said == "")] = "no_usable_value"
    return Trace(
        time=times,
        up=np.where(known & ~hidden, up, 0).astype(np.int8),
        keep=climb(ladder, safe, -ladder.deadband),
        unsure=np.where(~known & ~hidden, estimate, 0).astype(np.int8),
        blind=hidden,
        value=value,
        sigma=spread,
        reason=said,
        details=details or {},
    )


def moments(times: TimeArray) -> list[datetime]:
    """Return numpy instants as aware datetimes."""
    return [moment_of(instant) for instant in times]
