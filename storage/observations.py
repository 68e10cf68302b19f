"""Observations in and out of the database: commits, series as arrays, pages, buckets, revisions and batches.

This file finishes with `ObservationRepository`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from psycopg.rows import args_row, class_row

from domain.errors import RequestError
from domain.observation import Batch, CommitCounts, StoredFile
from domain.ports import Extents, SeriesData
from storage.arrays import ids_parameter, times_parameter
from storage.commit import commit_batch, fetch_packed
from storage.copy_format import decode_rows
from storage.database import Connection, Database
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("observations")
REGISTERS = load_statements("registers")
RESOLUTIONS = ("1h", "1d", "1mo")
_EXTENTS_LAYOUT = {
    "place": "i4", "low": "f8", "high": "f8", "last": "f8", "first": "M8", "newest": "M8", "count": "i4", "unusable": "i4",
}  # fmt: skip
_SERIES_LAYOUT = {"time": "M8", "result": "f8", "sigma": "f8", "quality": "i2", "end": "M8"}


class ObservationRow(NamedTuple):
    """One stored observation; None = not stated. A named tuple, because thousands are made for one chart."""

    phenomenon_time: datetime
    phenomenon_end: datetime | None
    result: float | None
    sigma: float | None
    quality: int
    quality_reasons: list[str] | None
    result_time: datetime | None
    received_at: datetime
    batch_id: int


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A value that was current once, and the batch that superseded it."""

    phenomenon_time: datetime
    phenomenon_end: datetime | None
    result: float | None
    sigma: float | None
    quality: int
    quality_reasons: list[str] | None
    result_time: datetime | None
    received_at: datetime
    batch_id: int
    superseded_by: int
    superseded_at: datetime


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A roll-up of one hour (UTC), or of one day or month of the node's zone.

    `n` counts every row, `n_good` the usable ones (good or unknown); all else is over those, None where there are none.
    """

    bucket: datetime
    n: int
    n_good: int
    mean: float | None
    min: float | None
    max: float | None
    sum: float | None
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One ingest batch with its provenance and counts; `ledger_seq` is None when it changed no observation."""

    id: int
    source_kind: str
    source: str
    device: str | None
    actor: str | None
    format: str | None
    profile: str | None
    sha256: str | None
    parameters: Mapping[str, Any]
    received_at: datetime
    committed_at: datetime
    accepted: int
    duplicate: int
    corrected: int
    rejected: int
    ledger_seq: int | None


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A reject with its reason and raw bytes."""

    id: int
    batch_id: int
    raw_payload_id: int | None
    station_code: str | None
    line: int
    code: str
    reason: str
    raw: bytes
    received_at: datetime
    resolved_at: datetime | None
    source: str
    source_kind: str


@dataclass(frozen=True, slots=True)
class RawPayloadRow:
    """Bytes as they arrived: in the database (`body`) or in the file store (`location`)."""

    id: int
    batch_id: int
    ordinal: int
    source: str
    media_type: str | None
    received_at: datetime
    sha256: str
    size: int
    body: bytes | None
    location: str | None


class ObservationRepository:
    """Implements `domain.ports.ObservationStore` and `ObservationReader`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, batch: Batch) -> CommitCounts:
        """Store a batch in one transaction; everything in it becomes visible together, or nothing does.

        A key (datastream, phenomenon_time) that is stored with the same result, sigma, extent, quality and reasons is a
        duplicate; with others it is corrected, and what it said before becomes a revision. Of several lines of one key the last
        wins.

        Returns
        -------
        CommitCounts
            accepted + duplicate + corrected = rows of the batch; rejected = entries for the quarantine.

        Raises
        ------
        UnavailableError
            The database is out of reach or broke the transaction off: nothing was stored, or, when the connection was lost
            during the commit itself, everything was; committing the same batch again is safe, for then all are duplicates.
        ConflictError
            The schema refuses a row, e.g. an unknown datastream.
        InputError
            A time is missing or a value infinite.
        """
        with self._database.transaction() as connection:
            return commit_batch(connection, batch)

    def register_mark(self) -> int:
        """Return the newest change of a station, sensor, datastream, event or setting, as a ledger sequence."""
        with self._database.single() as connection:
            row = connection.execute(REGISTERS.register_mark).fetchone()
        assert row is not None
        return int(row[0])

    def remember_file(self, key_sha256: str, file: StoredFile) -> None:
        """Remember a file, unless a register has changed since its mark or a part of it is not known as stored whole."""
        with self._database.transaction() as connection:
            connection.execute(
                SQL.remember_file,
                {
                    "key": key_sha256,
                    "contents": list(file.contents),
                    "rows": file.rows,
                    "stations": list(file.stations),
                    "notes": jsonb(file.notes),
                    "mark": file.register_mark,
                },
            )

    def recall_file(self, key_sha256: str) -> StoredFile | None:
        """Return a remembered file while no register has changed and each of its rows still stands as it was stored."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.recall_file, {"key": key_sha256}).fetchone()
        return None if row is None else StoredFile(tuple(row[0]), row[1], tuple(row[2]), row[3], row[4])

    def series(
        self, datastream_id: int, start: datetime | None = None, end: datetime | None = None, *, as_of: int | None = None
    ) -> SeriesData:
        """Return observations with start <= phenomenon_time < end, as known at ledger sequence `as_of` (None = now)."""
        parameters = {"datastream_id": datastream_id, **_span(start, end)}
        if as_of is None:
            with self._database.single() as connection:
                return SeriesData(**decode_rows(fetch_packed(connection, SQL.pack_series, parameters), _SERIES_LAYOUT))
        with self._database.transaction() as connection:
            later = _later_batches(connection, datastream_id, as_of)
            if later:
                stream = fetch_packed(connection, SQL.pack_series_as_of, parameters | {"later": later})
            else:
                stream = fetch_packed(connection, SQL.pack_series, parameters)
        return SeriesData(**decode_rows(stream, _SERIES_LAYOUT))

    def series_since(self, starts: Mapping[int, datetime]) -> dict[int, SeriesData]:
        """Return what each datastream has from its own time on, in one statement; one that has nothing is given empty."""
        if not starts:
            return {}
        parameters = {"ids": list(starts), "starts": list(starts.values()), "least": min(starts.values())}
        with self._database.single() as connection:
            rows = connection.execute(SQL.pack_series_since, parameters).fetchall()
        packed = {datastream_id: bytes(stream) for datastream_id, stream in rows}
        return {identity: SeriesData(**decode_rows(packed.get(identity, b""), _SERIES_LAYOUT)) for identity in starts}

    def extents_since(self, starts: Mapping[int, datetime]) -> Extents:
        """Return what each datastream has from its own time on in a few figures, in one statement and in the order of `starts`."""
        n = len(starts)
        found = Extents(*(np.full(n, np.nan) for _ in range(3)), *(np.zeros(n, dtype=np.int64) for _ in range(4)))
        if n == 0:
            return found
        parameters = {
            "ids": ids_parameter(list(starts)),
            "starts": times_parameter(list(starts.values())),
            "least": min(starts.values()),
        }
        with self._database.single() as connection:
            rows = decode_rows(fetch_packed(connection, SQL.pack_extents_since, parameters), _EXTENTS_LAYOUT)
        at = rows["place"] - 1
        found.low[at], found.high[at], found.last[at] = rows["low"], rows["high"], rows["last"]
        found.first_us[at], found.newest_us[at] = rows["first"].astype(np.int64), rows["newest"].astype(np.int64)
        found.count[at], found.unusable[at] = rows["count"], rows["unusable"]
        return found

    def changed_after(self, seqs: Mapping[int, int]) -> dict[int, datetime]:
        """Return from which phenomenon time on batches after the ledger sequence given for each changed the datastreams that any did."""
        if not seqs:
            return {}
        parameters = {"ids": list(seqs), "seqs": list(seqs.values()), "least": min(seqs.values())}
        with self._database.single() as connection:
            return dict(connection.execute(SQL.changed_after, parameters).fetchall())

    def last_time(self, datastream_id: int) -> datetime | None:
        """Return the phenomenon time of the newest observation, or None."""
        with self._database.single() as connection:
            row = connection.execute(SQL.last_time, [datastream_id]).fetchone()
        return row[0] if row else None

    def page(
        self,
        datastream_id: int,
        start: datetime | None,
        end: datetime | None,
        *,
        after: datetime | None = None,
        limit: int = 1000,
        as_of: int | None = None,
    ) -> list[ObservationRow]:
        """Return up to `limit` observations with start <= phenomenon_time < end and later than `after`, in time order."""
        parameters = {
            "datastream_id": datastream_id,
            "after": "-infinity" if after is None else after,
            "limit": limit,
            **_span(start, end),
        }
        with self._database.transaction() as connection, connection.cursor(row_factory=args_row(ObservationRow)) as cursor:
            later = _later_batches(connection, datastream_id, as_of)
            if later:
                return cursor.execute(SQL.page_as_of, parameters | {"later": later}).fetchall()
            return cursor.execute(SQL.page, parameters).fetchall()

    def exceeds(self, datastream_id: int, start: datetime | None, end: datetime | None, count: int) -> bool:
        """Tell whether more than `count` observations have start <= phenomenon_time < end, walking over no more than that."""
        with self._database.transaction() as connection:
            row = connection.execute(
                SQL.exceeds, {"datastream_id": datastream_id, "count": count, **_span(start, end)}
            ).fetchone()
        return bool(row and row[0])

    def buckets(
        self, datastream_id: int, start: datetime | None, end: datetime | None, resolution: str, *, limit: int | None = None
    ) -> list[BucketRow]:
        """Return the roll-ups whose bucket begins in [start, end), in time order, at most `limit` of them (None = all).

        Raises
        ------
        RequestError
            `resolution` is not one of 1h, 1d, 1mo.
        """
        if resolution not in RESOLUTIONS:
            raise RequestError(f"{resolution!r} is not a resolution.", remedy=f"use one of {', '.join(RESOLUTIONS)}")
        statement: bytes = getattr(SQL, f"buckets_{resolution}")
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(BucketRow)) as cursor:
            return cursor.execute(statement, {"datastream_id": datastream_id, "limit": limit, **_span(start, end)}).fetchall()

    def revisions(self, datastream_id: int, phenomenon_time: datetime) -> list[RevisionRow]:
        """Return what one key said before, oldest first."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RevisionRow)) as cursor:
            return cursor.execute(SQL.revisions, [datastream_id, phenomenon_time]).fetchall()

    def batch(self, batch_id: int) -> BatchRow | None:
        """Return a batch, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            return cursor.execute(SQL.batch, [batch_id]).fetchone()

    def batches(self, after: int | None = None, limit: int = 100) -> list[BatchRow]:
        """Return batches with an id below `after` (None = from the newest on), newest first."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(BatchRow)) as cursor:
            return cursor.execute(SQL.batches, {"after": after, "limit": limit}).fetchall()

    def quarantined(self, after: int = 0, limit: int = 100, *, resolved: bool = False) -> list[QuarantineRow]:
        """Return quarantine entries with an id above `after`, oldest first; those already resolved only when asked for."""
        parameters = {"after": after, "limit": limit, "resolved": resolved}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(QuarantineRow)) as cursor:
            return cursor.execute(SQL.quarantined, parameters).fetchall()

    def restate_quarantine(self, ids: Sequence[int], reason: str) -> None:
        """Give open entries a reason that says more."""
        with self._database.transaction() as connection:
            connection.execute(SQL.restate_quarantine, {"ids": list(ids), "reason": reason})

    def resolve_quarantine(self, ids: Sequence[int], batch_id: int | None, now: datetime) -> int:
        """Mark entries as resolved by a batch (None = set aside by a person); return how many were open."""
        with self._database.transaction() as connection:
            return connection.execute(SQL.resolve_quarantine, {"ids": list(ids), "batch_id": batch_id, "now": now}).rowcount

    def raw_payload(self, raw_payload_id: int) -> RawPayloadRow | None:
        """Return raw bytes with their provenance, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RawPayloadRow)) as cursor:
            return cursor.execute(SQL.raw_payload, [raw_payload_id]).fetchone()

    def raw_payloads_of_batch(self, batch_id: int) -> list[RawPayloadRow]:
        """Return the raw payloads of a batch in order."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RawPayloadRow)) as cursor:
            return cursor.execute(SQL.raw_payloads_of_batch, [batch_id]).fetchall()

    def current_seq(self) -> int:
        """Return the newest ledger sequence: what is read after this call knows at least all up to it."""
        with self._database.single() as connection:
            row = connection.execute(SQL.current_seq).fetchone()
        return int(row[0]) if row else 0

    def seq_at(self, moment: datetime) -> int:
        """Return the ledger sequence that "as of `moment`" means: the greatest one recorded by then (0 = none)."""
        with self._database.single() as connection:
            row = connection.execute(SQL.seq_at, [moment]).fetchone()
        return int(row[0]) if row else 0


def _span(start: datetime | None, end: datetime | None) -> dict[str, datetime | str]:
    return {"start": "-infinity" if start is None else start, "end": "infinity" if end is None else end}


def _later_batches(connection: Connection, datastream_id: int, as_of: int | None) -> list[int]:
    """Return the batches that changed the datastream after `as_of`: none, and the current rows are what was known."""
    if as_of is None:
        return []
    # One snapshot for the list and the rows, or a commit in between would be taken for old.
    connection.execute(SQL.read_one_snapshot)
    return [batch_id for (batch_id,) in connection.execute(SQL.later_batches, {"datastream_id": datastream_id, "as_of": as_of})]
