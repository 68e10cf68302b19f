"""The merge of one batch into the observations: the hot path of the house.

Rows whose datastream has nothing in their span go straight into the hypertable by binary COPY. The others are staged, and only
what is not stored as it is comes back: new keys are copied, unlike values become revisions and are corrected, equal ones are
duplicates. Writers of one datastream queue up on advisory locks, the ledger comes last. This file finishes with `commit_batch`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.observation import NO_TIME, Batch, Columns, CommitCounts, QuarantineEntry, TimeArray
from storage.arrays import Int4Array, TimestampArray
from storage.copy_format import Column, constant, decode_rows, encode_rows, floats, texts, times
from storage.database import Connection, refusals_are_conflicts
from storage.json_values import jsonb
from storage.prepare import Prepared, equal_rows, prepare, spans
from storage.queries import load_statements
from storage.repeats import superseded_repeats

SQL = load_statements("observations")
LOCK_BUCKETS = 1024
"""Datastreams share this many locks, so that a batch of any number of datastreams needs a bounded number of them."""

ANALYZE_FROM_ROWS = 2000
NEW, DUPLICATE, CORRECTED = 0, 1, 2
_RAW_TYPES = ("int8", "int4", "text", "text", "timestamptz", "text", "int8", "bytea", "text")
_QUARANTINE_TYPES = ("int8", "int8", "text", "int4", "text", "text", "bytea", "timestamptz", "text", "text")


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What the rows of a batch have in common."""

    batch_id: int
    received_at: datetime


def commit_batch(connection: Connection, batch: Batch) -> CommitCounts:
    """Merge a batch inside the caller's transaction; see `ObservationRepository.commit`."""
    prepared = prepare(batch.columns)
    _lock(connection, prepared.rows)
    with refusals_are_conflicts("the batch"):
        stamp = _open_batch(connection, batch)
        if _is_stored(connection, batch, prepared):
            outcome = np.full(len(prepared.rows), DUPLICATE, dtype=np.int8)
        else:
            outcome = _classify(connection, prepared.rows)
            outcome[superseded_repeats(connection, batch, np.flatnonzero(outcome == CORRECTED))] = DUPLICATE
        corrected_lines = _merge(connection, prepared, outcome, stamp)
        with _kept_plans(connection):
            _keep_raws(connection, batch, stamp)
            if len(outcome):
                _note_changes(connection, prepared.rows, outcome, stamp, batch.source_kind)
            _note_part(connection, batch, prepared, outcome, stamp)
            _keep_rejects(connection, batch, stamp)
        return _close_batch(connection, batch, outcome, corrected_lines, stamp)


@contextmanager
def _kept_plans(connection: Connection) -> Iterator[None]:
    """Let the server keep plans meanwhile (see `SESSION` for why it must not elsewhere): no observation is read or written inside."""
    connection.execute(SQL.keep_plans)
    yield
    connection.execute(SQL.make_plans)


def _is_stored(connection: Connection, batch: Batch, prepared: Prepared) -> bool:
    """Tell whether an earlier batch stored these very rows and every one of them still stands as that batch wrote it."""
    rows = prepared.rows
    if batch.content_sha256 is None or not len(rows):
        return False
    row = connection.execute(SQL.is_stored_part, {"content": batch.content_sha256, **_place(rows)}).fetchone()
    return row is not None and bool(row[0])


def _note_part(connection: Connection, batch: Batch, prepared: Prepared, outcome: npt.NDArray[np.int8], stamp: _Stamp) -> None:
    """Remember rows that all were new, so that they are recognised when they come again."""
    if batch.content_sha256 is None or not len(outcome) or (outcome != NEW).any():
        return
    rows = prepared.rows
    part = {"content": batch.content_sha256, "batch_id": stamp.batch_id, "rows": len(rows), **_place(rows)}
    connection.execute(SQL.insert_part, part)


def _place(rows: Columns) -> dict[str, Any]:
    """Return where rows in the order of the primary key lie."""
    return {"low": int(rows.stream[0]), "high": int(rows.stream[-1]), **_bounds(rows)}


def _lock(connection: Connection, rows: Columns) -> None:
    keys = np.unique(rows.stream % LOCK_BUCKETS)
    if len(keys):
        connection.execute(SQL.lock_datastreams, [Int4Array(keys)])


def _open_batch(connection: Connection, batch: Batch) -> _Stamp:
    row = connection.execute(
        SQL.insert_batch,
        {
            "source_kind": batch.source_kind,
            "source": batch.source,
            "device": batch.device,
            "actor": batch.actor,
            "format": batch.format,
            "profile": batch.profile,
            "sha256": batch.sha256,
            "parameters": jsonb(batch.parameters),
            "received_at": batch.received_at,
            "rejected": len(batch.quarantine),
        },
    ).fetchone()
    assert row is not None
    return _Stamp(*row)


def _keep_raws(connection: Connection, batch: Batch, stamp: _Stamp) -> None:
    raws = (
        (stamp.batch_id, ordinal, raw.source, raw.media_type, raw.received_at, raw.sha256, raw.size, raw.body, raw.location)
        for ordinal, raw in enumerate(batch.raws)
    )
    if batch.raws:
        _copy_values(connection, SQL.copy_raw_payloads, _RAW_TYPES, raws)


def _keep_rejects(connection: Connection, batch: Batch, stamp: _Stamp) -> None:
    """Put rejects into quarantine, but for those that wait there already from the same payload: sent twice, judged once.

    A replay is another matter: it resolves the entries that it runs again, so what is refused again needs new ones.
    """
    if not batch.quarantine:
        return
    known = set() if batch.source_kind == "replay" else _known_rejects(connection, batch)
    first: dict[_Identity, int | None] = {}  # a message that came twice within the batch is judged once too
    fresh = [
        entry
        for entry in batch.quarantine
        if (key := _identity(batch, entry)) not in known and first.setdefault(key, entry.raw_index) == entry.raw_index
    ]
    raw_ids = dict(connection.execute(SQL.raw_payload_ids, [stamp.batch_id]).fetchall()) if batch.raws else {}
    entries = (
        (
            stamp.batch_id,
            None if entry.raw_index is None else raw_ids[entry.raw_index],
            _printable(entry.station),
            entry.rejected.line,
            entry.rejected.code,
            _printable(entry.rejected.reason),
            entry.rejected.raw,
            stamp.received_at,
            _payload_sha256(batch, entry),
            _printable(entry.device),
        )
        for entry in fresh
    )
    if fresh:
        _copy_values(connection, SQL.copy_quarantine, _QUARANTINE_TYPES, entries)


_Identity = tuple[str | None, int, str, str | None, bytes]
"""Payload, line, code, station, and the digest of the row itself: sheets of one workbook number their lines alike."""


def _known_rejects(connection: Connection, batch: Batch) -> set[_Identity]:
    """Return which of the batch's payloads have open entries; whoever writes rejects at the same time waits for our commit."""
    digests = sorted({digest for entry in batch.quarantine if (digest := _payload_sha256(batch, entry)) is not None})
    if not digests:
        return set()
    connection.execute(SQL.lock_quarantine)
    return set(connection.execute(SQL.open_rejects, [digests]).fetchall())


def _identity(batch: Batch, entry: QuarantineEntry) -> _Identity:
    rejected = entry.rejected
    row = hashlib.sha256(rejected.raw).digest()
    return (_payload_sha256(batch, entry), rejected.line, rejected.code, _printable(entry.station), row)


def _payload_sha256(batch: Batch, entry: QuarantineEntry) -> str | None:
    return None if entry.raw_index is None else batch.raws[entry.raw_index].sha256


def _printable(text: str | None) -> str | None:
    """Text in PostgreSQL cannot hold NUL, which a broken payload may."""
    return None if text is None else text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _copy_values(connection: Connection, statement: bytes, types: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _copy_columns(connection: Connection, statement: bytes, columns: Sequence[Column], *, in_order: bool = False) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in encode_rows(columns, in_order=in_order):
            copy.write(part)


def _classify(connection: Connection, rows: Columns) -> npt.NDArray[np.int8]:
    """Return NEW, DUPLICATE or CORRECTED for each row; rows that are not new are staged when this returns."""
    outcome = np.full(len(rows), NEW, dtype=np.int8)
    occupied = _occupied(connection, rows)
    if not occupied:
        return outcome
    staged = np.flatnonzero(np.isin(rows.stream, occupied))
    _stage(connection, rows, staged)
    outcome[staged] = DUPLICATE
    unequal = decode_rows(fetch_packed(connection, SQL.pack_unequal, _bounds(rows)), {"ordinal": "i4", "stored": "b1"})
    outcome[unequal["ordinal"]] = np.where(unequal["stored"], CORRECTED, NEW)
    return outcome


def _occupied(connection: Connection, rows: Columns) -> list[int]:
    if not len(rows):
        return []
    span = spans(rows.stream)
    parameters = {
        "ids": Int4Array(span.ids),
        "starts": TimestampArray(rows.time[span.begin]),
        "ends": TimestampArray(rows.time[span.end - 1]),
        **_bounds(rows),
    }
    return [datastream_id for (datastream_id,) in connection.execute(SQL.occupied_datastreams, parameters)]


def _bounds(rows: Columns) -> dict[str, datetime]:
    first, last = moments(np.array([rows.time.min(), rows.time.max()]))
    return {"first": first, "last": last}


def _stage(connection: Connection, rows: Columns, staged: npt.NDArray[np.intp]) -> None:
    connection.execute(SQL.create_staging)
    connection.execute(SQL.clear_staging)
    _copy_columns(connection, SQL.copy_staged, [Column(staged.astype(np.int32)), *_value_columns(rows.take(staged))])
    if len(staged) >= ANALYZE_FROM_ROWS:
        connection.execute(SQL.analyze_staged)


def fetch_packed(connection: Connection, statement: bytes, parameters: dict[str, Any]) -> bytes:
    """Return the one bytea of a statement that packs its rows (NULL = no rows)."""
    row = connection.cursor(binary=True).execute(statement, parameters).fetchone()
    return bytes(row[0]) if row and row[0] is not None else b""


def _value_columns(rows: Columns) -> list[Column]:
    """Return datastream, time, end, result, sigma, quality, reasons, result time: the order of every observation table."""
    n = len(rows)
    nothing = np.ones(n, dtype=bool)
    return [
        Column(rows.stream.astype(np.int32, copy=False)),
        Column(rows.time),
        times(rows.end),
        floats(rows.result),
        floats(rows.sigma),
        Column(rows.quality.astype(np.int16, copy=False)),
        Column(rows.stream, nothing) if rows.reasons is None else texts(rows.reasons),
        Column(rows.stream, nothing) if rows.result_time is None else times(rows.result_time),
    ]


def _stamp_columns(stamp: _Stamp, n: int) -> list[Column]:
    received = np.datetime64(stamp.received_at.astimezone(UTC).replace(tzinfo=None), "us")
    return [constant(received, "datetime64[us]", n), constant(stamp.batch_id, "int64", n)]


def _merge(connection: Connection, prepared: Prepared, outcome: npt.NDArray[np.int8], stamp: _Stamp) -> int:
    """Write what is new and what is corrected; return how many superseded lines of the batch became revisions."""
    rows = prepared.rows
    is_new = outcome == NEW
    if is_new.any():
        new = rows if is_new.all() else rows.take(is_new)
        _copy_columns(connection, SQL.copy_observations, [*_value_columns(new), *_stamp_columns(stamp, len(new))])
    corrected = np.flatnonzero(outcome == CORRECTED)
    lines = _superseded_lines(connection, prepared, outcome)
    if len(corrected):
        changed = rows.take(corrected)
        parameters = {
            "ordinals": corrected.tolist(),
            "datastreams": np.unique(changed.stream).tolist(),
            "batch_id": stamp.batch_id,
            "received_at": stamp.received_at,
            **_bounds(changed),
        }
        connection.execute(SQL.keep_revisions, parameters)
        connection.execute(SQL.correct_observations, parameters)
    if len(lines):
        superseded_by = constant(stamp.batch_id, "int64", len(lines))
        values = [*_value_columns(lines), *_stamp_columns(stamp, len(lines)), superseded_by]
        _copy_columns(connection, SQL.copy_revisions, values, in_order=True)
    return len(lines)


def _superseded_lines(connection: Connection, prepared: Prepared, outcome: npt.NDArray[np.int8]) -> Columns:
    """Return the lines that a later line of this batch superseded and that were not the stored value already.

    Where the last line says what is stored, nothing changed, and the lines before it are not kept: importing a file twice
    changes nothing.
    """
    keep = outcome[prepared.superseded_key] != DUPLICATE
    first_of_key = np.concatenate(([True], np.diff(prepared.superseded_key) != 0))[: len(keep)]
    candidates = np.flatnonzero(keep & first_of_key & (outcome[prepared.superseded_key] == CORRECTED))
    if len(candidates):
        keys = prepared.superseded_key[candidates]
        stored, ordinals = _stored_values(connection, prepared.rows, keys)
        position = np.searchsorted(ordinals, keys)
        keep[candidates[equal_rows(prepared.superseded, candidates, stored, position)]] = False
    return prepared.superseded.take(np.flatnonzero(keep))


def _stored_values(connection: Connection, rows: Columns, keys: npt.NDArray[np.intp]) -> tuple[Columns, npt.NDArray[np.intp]]:
    found = connection.execute(SQL.stored_values, {"ordinals": keys.tolist(), **_bounds(rows)}).fetchall()
    found.sort(key=lambda row: row[0])
    ordinals = np.array([row[0] for row in found], dtype=np.intp)
    reasons = np.empty(len(found), dtype=object)
    reasons[:] = [tuple(row[5]) if row[5] else None for row in found]
    stored = Columns(
        stream=rows.stream[ordinals],
        time=rows.time[ordinals],
        result=np.array([np.nan if row[1] is None else row[1] for row in found]),
        sigma=np.array([np.nan if row[2] is None else row[2] for row in found]),
        quality=np.array([row[4] for row in found], dtype=np.int16),
        line=rows.line[ordinals],
        end=np.array([instant(row[3]) for row in found], dtype="datetime64[us]"),
        reasons=reasons,
    )
    return stored, ordinals


def _note_changes(connection: Connection, rows: Columns, outcome: npt.NDArray[np.int8], stamp: _Stamp, source_kind: str) -> None:
    """Write, for every datastream that changed, its status, what the batch touched and the work that this leaves."""
    is_changed = outcome != DUPLICATE
    if not is_changed.any():
        return
    stream, time = rows.stream[is_changed], rows.time[is_changed]
    span = spans(stream)
    last = span.end - 1
    result = rows.result[is_changed][last]
    parameters = {
        "batch_id": stamp.batch_id,
        "received_at": stamp.received_at,
        "ids": Int4Array(span.ids),
        "first_times": TimestampArray(time[span.begin]),
        "last_times": TimestampArray(time[last]),
        "last_results": [None if np.isnan(value) else value for value in result.tolist()],
        "last_qualities": rows.quality[is_changed][last].tolist(),
        "added": Int4Array(np.add.reduceat((outcome[is_changed] == NEW).astype(np.int64), span.begin)),
        "changed": Int4Array(span.end - span.begin),
        # What analytics derived is not analysed again; rules and charts see it like any other datastream.
        "kinds": ["evaluate", "rollup"] if source_kind == "analysis" else ["quality", "evaluate", "rollup", "analyse"],
    }
    connection.execute(SQL.update_statuses, parameters)
    connection.execute(SQL.insert_batch_datastreams, parameters)
    connection.execute(SQL.insert_work, parameters)


def _close_batch(
    connection: Connection, batch: Batch, outcome: npt.NDArray[np.int8], corrected_lines: int, stamp: _Stamp
) -> CommitCounts:
    accepted = int((outcome == NEW).sum())
    corrected = int((outcome == CORRECTED).sum()) + corrected_lines
    counts = {
        "accepted": accepted,
        "duplicate": len(batch.columns) - accepted - corrected,
        "corrected": corrected,
        "batch_id": stamp.batch_id,
    }
    seq: int | None = None
    if accepted or corrected:
        row = connection.execute(SQL.close_batch, counts).fetchone()
        assert row is not None
        seq = row[0]
    else:
        connection.execute(SQL.count_batch, counts)
    return CommitCounts(accepted, counts["duplicate"], corrected, len(batch.quarantine), stamp.batch_id, seq)


def moments(values: TimeArray) -> list[datetime]:
    """Return aware datetimes of an array of UTC instants without NaT."""
    return [value.replace(tzinfo=UTC) for value in values.astype("datetime64[us]").astype(object).tolist()]


def instant(value: datetime | None) -> np.datetime64:
    """Return a UTC instant as numpy has it; None = NaT."""
    return NO_TIME if value is None else np.datetime64(value.astimezone(UTC).replace(tzinfo=None), "us")
