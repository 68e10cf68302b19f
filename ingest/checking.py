"""From a parsed payload to what can be stored: streams resolved, units converted, checks made, contradictions sorted out.

All rows of a payload at once; only what needs a conversion of its own is done a stream at a time. This file finishes with
`without_contradictions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from domain.observation import Columns, ParsedPayload, Rejected, concatenate
from domain.units import parse_unit
from ingest.mapping import Refusal, StreamResolver, Target
from ingest.quality import flagged_rows, impossible_time, suspect_rows

Refused = list[tuple[int, str, str]]
"""Line, code and reason of rows that cannot be stored."""


def storable(
    payload: ParsedPayload,
    resolver: StreamResolver,
    row_bytes: Callable[[int], bytes],
    now: datetime,
    *,
    since: datetime | None = None,
    broken_line: int | None = None,
) -> tuple[Columns, list[Rejected], list[str]]:
    """Return what can be stored under its datastreams' ids and in their units, what cannot, and the stations that came.

    Parameters
    ----------
    payload
        As a format made it.
    resolver
        Finds, or makes, the datastream of each stream.
    row_bytes
        Returns the bytes of a line, for quarantine.
    now
        When the payload was received.
    since
        Before this no device wrote the format; None = it is of persons too, or as old as anybody likes.
    broken_line
        A line that the file seems to end within: what it says is suspect until the file comes whole.
    """
    rows = payload.columns
    counts = np.bincount(rows.stream, minlength=len(payload.streams))
    found = [resolver.resolve(stream) if count else None for stream, count in zip(payload.streams, counts.tolist(), strict=True)]
    refused: Refused = []
    if any(isinstance(target, Refusal) for target in found):
        rows = _without_refused(rows, found, refused)
    rows = _converted(rows, found, refused)
    rows, spans = _spans(rows, found)
    rows = _sound(rows, spans, now, since, refused)
    if broken_line is not None:
        rows = suspect_rows(rows, rows.line == broken_line, "cut_off")
    rejected = [*payload.rejected, *(Rejected(line, code, reason, row_bytes(line)) for line, code, reason in refused)]
    rejected.sort(key=lambda item: item.line)
    stations = [target.datastream.station for target in found if isinstance(target, Target)]
    return rows, rejected, list(dict.fromkeys(stations))


Found = Sequence[Target | Refusal | None]


def _without_refused(rows: Columns, found: Found, refused: Refused) -> Columns:
    is_refused = np.array([isinstance(target, Refusal) for target in found])
    out = is_refused[rows.stream]
    for stream, line in zip(rows.stream[out].tolist(), rows.line[out].tolist(), strict=True):
        target = found[stream]
        assert isinstance(target, Refusal)
        refused.append((line, target.code, target.reason))
    return rows.take(~out)


def _converted(rows: Columns, found: Found, refused: Refused) -> Columns:
    """Convert units, references and datums of the streams that need it."""
    odd = [number for number, target in enumerate(found) if isinstance(target, Target) and not _is_as_stored(target)]
    if not odd:
        return rows
    is_odd = np.zeros(len(found), dtype=bool)
    is_odd[odd] = True
    parts = [rows.take(~is_odd[rows.stream])]
    picked = np.flatnonzero(is_odd[rows.stream])
    order = picked[np.argsort(rows.stream[picked], kind="stable")]
    ends = np.flatnonzero(np.diff(rows.stream[order])) + 1
    for part in np.split(order, ends):
        if len(part) == 0:
            continue
        number = int(rows.stream[part[0]])
        target = found[number]
        assert isinstance(target, Target)
        dated, undated = without_offset(rows.take(part), target)
        refused += undated
        parts.append(replace(target.convert(dated), stream=np.full(len(dated), number, dtype=np.int32)))
    return concatenate(parts)


def _is_as_stored(target: Target) -> bool:
    here, there = parse_unit(target.source_unit), parse_unit(target.datastream.unit)
    same = here.dimension == there.dimension and here.factor == there.factor and here.offset == there.offset
    return same and not target.shift and target.datum is None


def _spans(rows: Columns, found: Found) -> tuple[Columns, npt.NDArray[np.float64]]:
    """Return the rows under their datastreams' ids, and the plausible range of each (4, n), or (4, 1) where none is stated."""
    nowhere = (np.nan,) * 4
    table = np.array([target.bounds.as_row() if isinstance(target, Target) else nowhere for target in found]).reshape(-1, 4).T
    ids = np.array([target.datastream_id if isinstance(target, Target) else 0 for target in found], dtype=np.int32)
    if not len(rows):
        return rows, np.full((4, 1), np.nan)
    spans = np.full((4, 1), np.nan) if np.isnan(table).all() else table[:, rows.stream]
    return replace(rows, stream=ids[rows.stream]), spans


def _sound(rows: Columns, spans: npt.NDArray[np.float64], now: datetime, since: datetime | None, refused: Refused) -> Columns:
    """Leave out what is impossible and flag what is not plausible."""
    infinite = np.isinf(rows.result)
    ahead = impossible_time(rows.time, now)
    empty_extent = ~np.isnat(rows.end) & (rows.end <= rows.time)
    bad_sigma = ~np.isnan(rows.sigma) & ~(np.isfinite(rows.sigma) & (rows.sigma >= 0))
    for mask, code, reason in (
        (infinite, "value", "the value is not finite; correct it"),
        (ahead, "clock", "the time is more than a day in the future; set the device's clock or the zone"),
        (empty_extent, "time", "the end is not after the beginning; correct it"),
        (bad_sigma, "value", "the sigma is no number of at least 0; correct it"),
    ):
        refused += [(line, code, reason) for line in rows.line[mask].tolist()]
    bad = infinite | ahead | empty_extent | bad_sigma
    if not bad.any():
        return flagged_rows(rows, spans, now, since=since)
    return flagged_rows(rows.take(~bad), spans if spans.shape[1] == 1 else spans[:, ~bad], now, since=since)


def without_offset(rows: Columns, target: Target) -> tuple[Columns, Refused]:
    """Leave out heights of another datum for whose date no offset is valid, with why."""
    if target.datum is None:
        return rows, []
    reasons = target.datum.refusals(rows.time)
    refused = [(int(line), "datum", reason) for line, reason in zip(rows.line, reasons, strict=True) if reason]
    return rows.take(np.array([reason is None for reason in reasons], dtype=bool)), refused


def in_order(rows: Columns) -> Columns:
    """Return the rows by datastream and time; rows of one key stay in the order of their lines."""
    stream, time = rows.stream, rows.time.view(np.int64)
    later = (stream[1:] > stream[:-1]) | ((stream[1:] == stream[:-1]) & (time[1:] >= time[:-1]))
    if later.all():
        return rows
    if (time[1:] >= time[:-1]).all() and int(stream.max()) - int(stream.min()) < 2**16:
        # As loggers deliver them: a stable sort of small numbers takes a tenth of the time.
        return rows.take(np.argsort((stream - stream.min()).astype(np.uint16), kind="stable"))
    return rows.take(np.lexsort((rows.line, time, stream)))


def without_contradictions(rows: Columns) -> tuple[Columns, Refused]:
    """Of rows in order that give one key unlike values, keep the last; the earlier ones are refused.

    Identical repeats stay (the store counts them as duplicates). Sorting it out here keeps a second import of the same file from
    correcting forth and back.
    """
    same = (rows.stream[1:] == rows.stream[:-1]) & (rows.time[1:] == rows.time[:-1])
    if not same.any():
        return rows, []
    keep = np.ones(len(rows), dtype=bool)
    refused: Refused = []
    last = len(rows) - 1
    for row in (np.flatnonzero(same)[::-1]).tolist():
        if row + 1 == len(rows) - 1 or not same[row + 1]:
            last = row + 1
        if _signature(rows, row) != _signature(rows, last):
            keep[row] = False
            reason = f"line {rows.line[last]} gives another value for the same time and wins; remove the wrong one"
            refused.append((int(rows.line[row]), "duplicate_in_file", reason))
    return rows.take(keep), refused


def _signature(rows: Columns, row: int) -> tuple[object, ...]:
    reasons = None if rows.reasons is None else rows.reasons[row]
    return rows.result[row].tobytes(), rows.sigma[row].tobytes(), rows.end[row].tobytes(), int(rows.quality[row]), reasons
