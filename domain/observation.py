"""Observations as columns: what a format parses, what the pipeline checks and what the store commits.

Columns, not rows, in the hot path: one numpy array a field. A bad row is a value (`Rejected`), kept in quarantine with its raw
bytes and its reason; only a payload that is not the format at all raises. This file finishes with `CommitCounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.model import Disclosure, StationKind
from domain.quality import Quality

TimeArray = npt.NDArray[np.datetime64]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
NO_TIME = np.datetime64("NaT", "us")


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row or element that cannot be stored.

    `line` counts from 1 (0 = the payload as a whole), `code` is stable (`unit`, `datum`, `time`, `value`, `station`, `columns`,
    `duplicate_in_file` ...), `reason` names what and the remedy, `raw` are the bytes as received.
    """

    line: int
    code: str
    reason: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class SourceStream:
    """What a payload (or its profile) says about one stream of values; None means that it does not say.

    `unit` is the unit of the values in the payload (UCUM). The pipeline converts to the datastream's unit and refuses what is not
    stated and cannot be known.
    """

    station: str
    property_code: str
    channel: str | None = None
    unit: str | None = None
    datum: str | None = None
    datum_epoch: date | None = None
    frame: str | None = None
    kind: StationKind | None = None
    name_zh: str | None = None
    name_en: str | None = None
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    height_m: float | None = None
    region_code: str | None = None
    depth_top_m: float | None = None
    depth_bottom_m: float | None = None
    aquifer: str | None = None
    sensor: str | None = None
    interval_s: float | None = None
    disclosure: Disclosure | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """Observations of several streams as arrays of one length `n`.

    Attributes
    ----------
    stream : int32 (n,)
        Index into the list of streams (of a `ParsedPayload`) or a database id (of a `Batch`).
    time, end : datetime64[us] (n,)
        UTC. `end` is exclusive, NaT = an instant.
    result, sigma : float64 (n,)
        In the stream's unit; NaN = missing result, NaN sigma = unknown. Sigma is 1 sigma.
    quality : int16 (n,)
        QARTOD flag.
    reasons : object (n,) or None
        Tuples of stable codes, None = none for the row; the whole column None = none anywhere.
    line : int32 (n,)
        Line (or element) of the payload that each row came from, from 1.
    result_time : datetime64[us] (n,) or None
        When the result became available, None = not stated.
    """

    stream: IntArray
    time: TimeArray
    result: FloatArray
    sigma: FloatArray
    quality: npt.NDArray[np.int16]
    line: IntArray
    end: TimeArray
    reasons: npt.NDArray[np.object_] | None = None
    result_time: TimeArray | None = None

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: npt.NDArray[Any]) -> Columns:
        """Return the rows that a mask or an index array picks."""
        return Columns(
            stream=self.stream[rows],
            time=self.time[rows],
            result=self.result[rows],
            sigma=self.sigma[rows],
            quality=self.quality[rows],
            line=self.line[rows],
            end=self.end[rows],
            reasons=None if self.reasons is None else self.reasons[rows],
            result_time=None if self.result_time is None else self.result_time[rows],
        )


def columns(
    stream: npt.ArrayLike,
    time: npt.ArrayLike,
    result: npt.ArrayLike,
    *,
    sigma: npt.ArrayLike | None = None,
    quality: npt.ArrayLike | None = None,
    line: npt.ArrayLike | None = None,
    end: npt.ArrayLike | None = None,
    reasons: npt.NDArray[np.object_] | None = None,
    result_time: npt.ArrayLike | None = None,
) -> Columns:
    """Build `Columns`, filling what is not given: sigma unknown, quality good (missing where NaN), instants, lines 1..n."""
    times = np.asarray(time, dtype="datetime64[us]")
    results = np.asarray(result, dtype=np.float64)
    n = len(times)
    if quality is None:
        flags = np.where(np.isnan(results), int(Quality.MISSING), int(Quality.GOOD)).astype(np.int16)
    else:
        flags = np.asarray(quality, dtype=np.int16)
    built = Columns(
        stream=np.broadcast_to(np.asarray(stream, dtype=np.int32), (n,)).copy(),
        time=times,
        result=results,
        sigma=np.full(n, np.nan) if sigma is None else np.asarray(sigma, dtype=np.float64),
        quality=flags,
        line=np.arange(1, n + 1, dtype=np.int32) if line is None else np.asarray(line, dtype=np.int32),
        end=np.full(n, NO_TIME) if end is None else np.asarray(end, dtype="datetime64[us]"),
        reasons=reasons,
        result_time=None if result_time is None else np.asarray(result_time, dtype="datetime64[us]"),
    )
    lengths = {
        len(built.stream),
        n,
        len(results),
        len(built.sigma),
        len(flags),
        len(built.line),
        len(built.end),
    }
    if lengths != {n}:
        raise ValueError(f"columns of unlike lengths: {sorted(lengths)}")
    return built


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Join columns of the same streams, in order."""
    if not parts:
        return columns([], [], [])
    some_reasons = any(part.reasons is not None for part in parts)
    some_result_time = any(part.result_time is not None for part in parts)
    return Columns(
        stream=np.concatenate([part.stream for part in parts]),
        time=np.concatenate([part.time for part in parts]),
        result=np.concatenate([part.result for part in parts]),
        sigma=np.concatenate([part.sigma for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        line=np.concatenate([part.line for part in parts]),
        end=np.concatenate([part.end for part in parts]),
        reasons=np.concatenate([_reasons_of(part) for part in parts]) if some_reasons else None,
        result_time=np.concatenate([_result_time_of(part) for part in parts]) if some_result_time else None,
    )


def _reasons_of(part: Columns) -> npt.NDArray[np.object_]:
    return np.full(len(part), None, dtype=object) if part.reasons is None else part.reasons


def _result_time_of(part: Columns) -> TimeArray:
    return np.full(len(part), NO_TIME) if part.result_time is None else part.result_time


@dataclass(frozen=True, slots=True)
class ParsedPayload:
    """What a format made of some bytes: streams, their observations in source units, rejects, and notes on the payload.

    `row_bytes` returns the bytes of a line, where the format has them at hand.
    """

    streams: tuple[SourceStream, ...]
    columns: Columns
    rejected: tuple[Rejected, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    row_bytes: Callable[[int], bytes] | None = field(default=None, compare=False, repr=False)


class RawPayload(NamedTuple):
    """Bytes as they arrived; a named tuple, because every message of a device is one.

    `body` is kept in the database (device payloads); files are kept in the file store at `location`.
    """

    source: str
    sha256: str
    size: int
    received_at: datetime
    body: bytes | None = None
    location: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file as it was put into the store of raw files."""

    sha256: str
    size: int
    location: str


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A reject on its way to quarantine: which raw payload (index into the batch's raws), and why.

    `device` is the `protocol:identity` that the payload carries, where it carries one.
    """

    rejected: Rejected
    raw_index: int | None = None
    station: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One unit of commit: everything in it becomes visible together, gets one ledger sequence, or nothing of it does.

    `columns.stream` holds database ids of datastreams. `source_kind` is file, inbox, mqtt, http, tcp, analysis, override or replay.
    """

    source_kind: str
    source: str
    columns: Columns
    raws: tuple[RawPayload, ...] = ()
    quarantine: tuple[QuarantineEntry, ...] = ()
    device: str | None = None
    actor: str | None = None
    format: str | None = None
    profile: str | None = None
    sha256: str | None = None
    received_at: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    content_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of which every row is stored as it was read.

    Attributes
    ----------
    contents
        Digests of the parts that its rows were stored as (`Batch.content_sha256`).
    rows
        How many rows it has, repeated ones too.
    stations
        Codes of the stations that it names.
    notes
        What its format tells of it beside the rows.
    register_mark
        The newest change of a register when it was read.
    """

    contents: tuple[str, ...]
    rows: int
    stations: tuple[str, ...]
    notes: Mapping[str, Any]
    register_mark: int


@dataclass(frozen=True, slots=True)
class CommitCounts:
    """What a commit did. `ledger_seq` is None when it changed no observation."""

    accepted: int
    duplicate: int
    corrected: int
    rejected: int
    batch_id: int | None
    ledger_seq: int | None

    def __add__(self, other: CommitCounts) -> CommitCounts:
        return CommitCounts(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.corrected + other.corrected,
            self.rejected + other.rejected,
            other.batch_id or self.batch_id,
            other.ledger_seq or self.ledger_seq,
        )
