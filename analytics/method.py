"""What a method is: a name, a version, parameters with defaults, and a pure function to an Outcome.

The digest of its inputs is taken over canonical bytes, so that a stored run can be computed again and
compared. This file holds those words and the conversions between arrays, aware datetimes and plain JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

import numpy as np

from analytics.sampling import Samples, Times, decimal_years, from_decimal_years
from domain.finding import Outcome, Run
from domain.model import EventEffect, StationEvent

Runner = Callable[[Samples, Sequence[StationEvent], Any, datetime], Outcome]


@dataclass(frozen=True)
class Method:
    """An analytic as the registry knows it.

    Attributes
    ----------
    name, version : str
        Stored with every run; the version changes with the numbers.
    parameters : type
        Frozen dataclass whose defaults are the one fixed setting.
    run : callable
        ``(samples, events, parameters, now) -> Outcome``; pure, never raises on short or empty input.
    document : str
        Theory page under docs/methods.
    """

    name: str
    version: str
    parameters: type[Any]
    run: Runner
    document: str


def aware(time: np.datetime64) -> datetime:
    """UTC datetime of a numpy time.

    Examples
    --------
    >>> aware(np.datetime64("2024-01-01T00:00:00")).isoformat()
    '2024-01-01T00:00:00+00:00'
    """
    microseconds = int(time.astype("datetime64[us]").astype("int64"))
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def numpy_time(time: datetime) -> np.datetime64:
    """Numpy time (UTC) of an aware datetime."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def year_of(time: datetime) -> float:
    """Decimal year of an aware datetime."""
    return float(decimal_years(np.array([numpy_time(time)]))[0])


def time_of(year: float) -> datetime:
    """Aware datetime of a decimal year, to the nearest second.

    A double keeps a decimal year to some ten microseconds, so a cut would turn midnight into the second before it.

    Examples
    --------
    >>> time_of(year_of(datetime(2023, 6, 8, tzinfo=UTC))).isoformat()
    '2023-06-08T00:00:00+00:00'
    """
    return (aware(from_decimal_years([year])[0]) + timedelta(milliseconds=500)).replace(microsecond=0)


def plain(value: Any) -> Any:
    """Convert to what JSON holds; numbers that are not finite become None, never NaN.

    Examples
    --------
    >>> plain({"a": np.float64("nan"), "b": np.array([1, 2])})
    {'a': None, 'b': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return _plain_number(value)


def _plain_number(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(float(value)) else None
    return value


def _event_row(event: StationEvent) -> list[Any]:
    return [str(event.kind), plain(event.start), plain(event.end), str(event.effect), plain(event.size)]


def input_digest(samples: Samples, events: Sequence[StationEvent], parameters: Any) -> str:
    """Sha-256 over canonical bytes of all that a method sees.

    Times are int64 microseconds, values and sigmas little-endian doubles with one NaN, quality one byte;
    events and parameters are JSON with sorted keys. The order of the events does not matter.
    """
    digest = hashlib.sha256()
    header = {"n": len(samples), "parameters": plain(parameters), "events": sorted(map(_event_row, events), key=str)}
    digest.update(json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
    digest.update(samples.time.astype("int64").astype("<i8").tobytes())
    for column in (samples.value, samples.sigma):
        if column is None:
            digest.update(b"\x00none")
            continue
        canonical = np.where(np.isnan(column), np.nan, column + 0.0)
        digest.update(canonical.astype("<f8").tobytes())
    quality = np.full(len(samples), 2) if samples.quality is None else samples.quality
    digest.update(quality.astype("u1").tobytes())
    return digest.hexdigest()


def make_run(
    method: tuple[str, str],
    samples: Samples,
    events: Sequence[StationEvent],
    parameters: Any,
    status: str,
    result: Mapping[str, Any],
) -> Run:
    """Record one computation."""
    return Run(
        method=method[0],
        version=method[1],
        parameters=plain(parameters),
        window_start=aware(samples.time[0]) if len(samples) else None,
        window_end=aware(samples.time[-1]) if len(samples) else None,
        input_digest=input_digest(samples, events, parameters),
        status=status,
        result=plain(result),
    )


def until(samples: Samples, now: datetime) -> Samples:
    """Samples not later than `now`: a forecast made as of a day must not know the next one."""
    return samples.where(samples.time <= numpy_time(now))


def without_excluded(samples: Samples, events: Sequence[StationEvent]) -> Samples:
    """Drop the spans of events with the effect "exclude"; an event without end excludes its UTC day."""
    keep = np.ones(len(samples), dtype=bool)
    for event in events:
        if event.effect != EventEffect.EXCLUDE:
            continue
        start = numpy_time(event.start)
        end = numpy_time(event.end) if event.end is not None else start + np.timedelta64(1, "D")
        keep &= ~((samples.time >= start) & (samples.time < end))
    return samples.where(keep)


def refused(events: Sequence[StationEvent]) -> list[datetime]:
    """Ends of the spans in which a person said that no step is."""
    spans = [(event.start, event.end) for event in events if event.effect == EventEffect.NO_OFFSET]
    return [time for span in spans for time in span if time is not None]


def last_segment(samples: Samples, events: Sequence[StationEvent]) -> Samples:
    """Samples after the last break that lies within the record."""
    breaks = [numpy_time(event.end or event.start) for event in events if event.effect == EventEffect.BREAK]
    inside = [at for at in breaks if len(samples) and samples.time[0] < at <= samples.time[-1]]
    return samples.where(samples.time >= max(inside)) if inside else samples


def offsets(events: Sequence[StationEvent], times: Times) -> list[StationEvent]:
    """Events that shift the level within a record, oldest first."""
    if not len(times):
        return []
    inside = [event for event in events if event.effect == EventEffect.OFFSET and times[0] < numpy_time(event.start) <= times[-1]]
    return sorted(inside, key=lambda event: event.start)
