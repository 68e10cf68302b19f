"""Flags of quality control and overrides of persons, beside values that they never change.

A change of flags is a batch of its own kind: it has a ledger sequence, keeps what was said before as revisions, and leaves work for
rules, roll-ups and analytics. What the source said stays stored, so that its file sent again is still a duplicate.
This file finishes with `QualityRepository`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.rows import class_row

from domain.errors import NotFoundError
from domain.observation import FloatArray, TimeArray
from storage.commit import LOCK_BUCKETS, fetch_packed, instant, moments
from storage.copy_format import decode_rows
from storage.database import Connection, Database, refusals_are_conflicts
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("quality")
OBSERVATIONS = load_statements("observations")
_LAYOUT = {"time": "M8", "received": "M8", "result": "f8", "quality": "i2", "source_quality": "i2"}
PORTION = 20_000
NEIGHBOURS = 3
"""How many samples a sample reaches into the flags of others at least, however far apart they are."""
Reasons = tuple[str, ...]
Span = tuple[datetime, datetime]
Change = tuple[int, datetime, datetime, timedelta]
"""Datastream id, the span that changed, and how far a sample reaches into the flags of others (see `revise`)."""
ReasonsRow = tuple[datetime, Sequence[str] | None, Sequence[str] | None]
OverrideSpan = tuple[datetime, datetime, int]


@dataclass(frozen=True, slots=True)
class FlagWindow:
    """Stored samples of one datastream in time order, with their flags and what their source said.

    `wanted` marks the rows whose flags are to be judged; the others are their neighbours. `reasons` and `source_reasons` are objects:
    a tuple of codes, or None. `overrides` are spans [from, to) with a quality, the newest last.
    """

    time: TimeArray
    received: TimeArray
    result: FloatArray
    quality: npt.NDArray[np.int16]
    source_quality: npt.NDArray[np.int16]
    reasons: npt.NDArray[np.object_]
    source_reasons: npt.NDArray[np.object_]
    wanted: npt.NDArray[np.bool_]
    overrides: tuple[tuple[np.datetime64, np.datetime64, int], ...]


@dataclass(frozen=True, slots=True)
class NewFlags:
    """What the flags of a window should be, a row each; rows that are not wanted are not looked at."""

    quality: npt.NDArray[np.int16]
    reasons: npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """What a person said of [time_from, time_to) of a datastream."""

    id: int
    datastream: str
    datastream_id: int
    time_from: datetime
    time_to: datetime
    quality: int
    reason: str
    actor: str
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    ledger_seq: int


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One datastream of a station over a window: what came, what of it is usable, and the newest value."""

    datastream_id: int
    datastream: str
    station: str
    property_code: str
    interval_s: float | None
    first_time: datetime | None
    last_time: datetime | None
    last_received_at: datetime | None
    last_result: float | None
    n: int
    n_good: int


class QualityRepository:
    """Reads windows, writes flags, keeps overrides."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def revise(
        self,
        datastream_id: int,
        start: datetime,
        end: datetime,
        memory: timedelta,
        judge: Callable[[FlagWindow], NewFlags],
        *,
        source_kind: str = "quality",
        actor: str | None = None,
        neighbours: int = NEIGHBOURS,
    ) -> int:
        """Judge what a change of [start, end] touches and write the flags that come out otherwise; return how many changed.

        Parameters
        ----------
        memory
            How far a sample reaches into the flags of others: rows of the span widened by it are judged, and they are shown with as
            much again on both sides, so that a window's edge never changes a flag.
        judge
            A pure function from the window to its flags; runs under the datastream's lock.
        neighbours
            How many samples it reaches, where they are further apart than `memory`.
        """
        with self._database.transaction() as connection, refusals_are_conflicts("the flags"):
            connection.execute(SQL.lock_datastream, [datastream_id % LOCK_BUCKETS])
            judged = self._reach(connection, datastream_id, (start, end), memory, neighbours)
            shown = self._reach(connection, datastream_id, judged, memory, neighbours)
            window = self._window(connection, datastream_id, judged, shown)
            if len(window.time) == 0:
                return 0
            flags = judge(window)
            rows = np.flatnonzero(window.wanted & _differs(window, flags))
            if len(rows):
                _write(connection, datastream_id, window, flags, rows, source_kind, actor)
            return len(rows)

    def windows(self, changes: Sequence[Change], neighbours: int = NEIGHBOURS) -> dict[int, FlagWindow]:
        """Return the window that `revise` would judge for each change, read in as many statements as for one, without any lock.

        What is committed meanwhile leaves work of its own: who finds nothing to change in a window need not look again, and who finds
        something calls `revise`, which looks under the lock. A datastream without any observation is not there.
        """
        if not changes:
            return {}
        memories = [memory for *_, memory in changes]
        with self._database.transaction() as connection:
            connection.execute(OBSERVATIONS.read_one_snapshot)
            judged = _reach_many(
                connection, [(identity, (start, end)) for identity, start, end, _ in changes], memories, neighbours
            )
            shown = _reach_many(connection, judged, memories, neighbours)
            starts, ends = [span[0] for _, span in shown], [span[1] for _, span in shown]
            parameters = {
                "ids": [identity for identity, _ in shown],
                "starts": starts,
                "ends": ends,
                "least": min(starts),
                "greatest": max(ends),
            }
            packed = connection.cursor(binary=True).execute(SQL.pack_windows, parameters).fetchall()
            reasons: dict[int, list[ReasonsRow]] = {}
            for identity, *row in connection.execute(SQL.reasons_of_windows, parameters):
                reasons.setdefault(identity, []).append((row[0], row[1], row[2]))
            overrides: dict[int, list[OverrideSpan]] = {}
            for identity, *span in connection.execute(SQL.overrides_of_windows, parameters):
                overrides.setdefault(identity, []).append((span[0], span[1], span[2]))
        wanted = dict(judged)
        return {
            identity: _window_of(bytes(rows), reasons.get(identity, ()), overrides.get(identity, ()), wanted[identity])
            for identity, rows in packed
        }

    @staticmethod
    def _reach(connection: Connection, datastream_id: int, span: Span, memory: timedelta, neighbours: int) -> Span:
        parameters = {
            "datastream_id": datastream_id,
            "start": span[0],
            "end": span[1],
            "memory": memory,
            "neighbours": neighbours,
        }
        row = connection.execute(SQL.reach, parameters).fetchone()
        assert row is not None
        return row[0], row[1]

    @staticmethod
    def _window(
        connection: Connection, datastream_id: int, judged: tuple[datetime, datetime], shown: tuple[datetime, datetime]
    ) -> FlagWindow:
        parameters = {"datastream_id": datastream_id, "start": shown[0], "end": shown[1]}
        packed = fetch_packed(connection, SQL.pack_window, parameters)
        reasons = connection.execute(SQL.window_reasons, parameters).fetchall()
        return _window_of(packed, reasons, connection.execute(SQL.standing_overrides, parameters).fetchall(), judged)

    def add_override(self, datastream_id: int, start: datetime, end: datetime, quality: int, reason: str, actor: str) -> int:
        """Record what a person says of [start, end) and leave the work of applying it; return the override's id."""
        parameters = {
            "datastream_id": datastream_id,
            "start": start,
            "end": end,
            "quality": quality,
            "reason": reason,
            "actor": actor,
            "reference": f"datastream:{datastream_id}",
        }
        with self._database.transaction() as connection, refusals_are_conflicts("the override"):
            connection.execute(SQL.leave_work, parameters)
            row = connection.execute(SQL.insert_override, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def withdraw_override(self, override_id: int, actor: str) -> tuple[int, datetime, datetime]:
        """Take an override back: it stays on record; return the datastream and the span that it stood on.

        Raises
        ------
        NotFoundError
            There is none that stands.
        """
        with self._database.transaction() as connection:
            row = connection.execute(SQL.withdraw_override, {"id": override_id, "actor": actor}).fetchone()
            if row is None:
                raise NotFoundError(
                    f"there is no override {override_id} that could be withdrawn.", remedy="list them: groundwatch quality list"
                )
            connection.execute(SQL.leave_work, {"datastream_id": row[0], "start": row[1], "end": row[2]})
        return int(row[0]), row[1], row[2]

    def overrides(
        self, datastream_id: int | None = None, after: int = 0, limit: int = 100, *, withdrawn: bool = False
    ) -> list[OverrideRow]:
        """Return overrides with an id above `after`, oldest first; those taken back only when asked for."""
        parameters = {"datastream_id": datastream_id, "after": after, "limit": limit, "withdrawn": withdrawn}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(OverrideRow)) as cursor:
            return cursor.execute(SQL.overrides, parameters).fetchall()

    def uncompensated_by(self, barometer_code: str) -> list[int]:
        """Return the datastreams of unvented sensors that name this barometer."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(SQL.uncompensated_by, [barometer_code])]

    def reason_counts(self, datastream_ids: Sequence[int], start: datetime) -> dict[str, int]:
        """Return how many observations since `start` carry each reason, the most frequent first."""
        with self._database.transaction() as connection:
            return dict(connection.execute(SQL.reason_counts, {"ids": list(datastream_ids), "start": start}).fetchall())

    def health_rows(self, start: datetime, now: datetime, stations: Sequence[str] | None = None) -> list[HealthRow]:
        """Return what came of every datastream in [start, now), by station and code; None = of every station."""
        parameters = {"start": start, "now": now, "stations": None if stations is None else list(stations)}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(HealthRow)) as cursor:
            return cursor.execute(SQL.health_rows, parameters).fetchall()

    def receipts(
        self, datastream_ids: Sequence[int], start: datetime, now: datetime, limit: int = 5000
    ) -> tuple[FloatArray, FloatArray]:
        """Return device times and times of receipt of the newest observations that devices sent since `start`, in seconds, ascending."""
        parameters = {"ids": list(datastream_ids), "start": start, "now": now, "limit": limit}
        with self._database.transaction() as connection:
            rows = connection.execute(SQL.receipts, parameters).fetchall()
        made = np.array([row[0].timestamp() for row in reversed(rows)], dtype=np.float64)
        return made, np.array([row[1].timestamp() for row in reversed(rows)], dtype=np.float64)


def _reach_many(
    connection: Connection, spans: Sequence[tuple[int, Span]], memories: Sequence[timedelta], neighbours: int
) -> list[tuple[int, Span]]:
    """Return the spans widened as `reach` does, in the same order."""
    parameters = {
        "ids": [identity for identity, _ in spans],
        "starts": [span[0] for _, span in spans],
        "ends": [span[1] for _, span in spans],
        "memories": list(memories),
        "neighbours": neighbours,
    }
    widened = {identity: (start, end) for identity, start, end in connection.execute(SQL.reach_many, parameters)}
    return [(identity, widened[identity]) for identity, _ in spans]


def _window_of(packed: bytes, reasons: Sequence[ReasonsRow], overrides: Sequence[OverrideSpan], judged: Span) -> FlagWindow:
    """Put a window together from its rows, those of them that have reasons, and the overrides on it."""
    columns = decode_rows(packed, _LAYOUT)
    time = columns["time"]
    said, said_by_source = np.full(len(time), None, dtype=object), np.full(len(time), None, dtype=object)
    for at, codes, by_source in reasons:
        row = int(np.searchsorted(time, instant(at)))
        said[row] = tuple(codes) if codes else None
        said_by_source[row] = tuple(by_source) if by_source else None
    return FlagWindow(
        time,
        columns["received"],
        columns["result"],
        columns["quality"],
        columns["source_quality"],
        said,
        said_by_source,
        (time >= instant(judged[0])) & (time <= instant(judged[1])),
        tuple((instant(low), instant(high), quality) for low, high, quality in overrides),
    )


def is_changed(window: FlagWindow, flags: NewFlags) -> bool:
    """Would any row that is to be judged get another flag or another reason?"""
    return bool((window.wanted & _differs(window, flags)).any())


def _differs(window: FlagWindow, flags: NewFlags) -> npt.NDArray[np.bool_]:
    unlike = flags.quality != window.quality
    nothing: Any = None
    either = np.not_equal(window.reasons, nothing) | np.not_equal(flags.reasons, nothing)
    for row in np.flatnonzero(either & ~unlike):
        unlike[row] = (window.reasons[row] or ()) != (flags.reasons[row] or ())
    return np.asarray(unlike)


def _write(
    connection: Connection,
    datastream_id: int,
    window: FlagWindow,
    flags: NewFlags,
    rows: npt.NDArray[np.intp],
    source_kind: str,
    actor: str | None,
) -> None:
    opened = connection.execute(OBSERVATIONS.insert_batch, _batch(source_kind, actor)).fetchone()
    assert opened is not None
    batch_id = opened[0]
    for begin in range(0, len(rows), PORTION):
        part = rows[begin : begin + PORTION]
        times = moments(window.time[part])
        parameters: dict[str, Any] = {
            "datastream_id": datastream_id,
            "batch_id": batch_id,
            "times": times,
            "first": times[0],
            "last": times[-1],
            "qualities": flags.quality[part].tolist(),
            "reasons": [",".join(flags.reasons[row]) if flags.reasons[row] else None for row in part],
            "as_source": [_as_source(window, flags, int(row)) for row in part],
        }
        connection.execute(SQL.keep_revisions, parameters)
        connection.execute(SQL.change_flags, parameters)
    span = moments(window.time[rows[[0, -1]]])
    touched = {
        "batch_id": batch_id,
        "ids": [datastream_id],
        "changed": [len(rows)],
        "first_times": span[:1],
        "last_times": span[1:],
        "kinds": ["evaluate", "rollup", "analyse"],
    }
    connection.execute(OBSERVATIONS.insert_batch_datastreams, touched)
    connection.execute(OBSERVATIONS.insert_work, touched)
    connection.execute(SQL.refresh_status, {"datastream_id": datastream_id})
    counts = {"accepted": 0, "duplicate": 0, "corrected": len(rows), "batch_id": batch_id}
    connection.execute(OBSERVATIONS.close_batch, counts)


def _as_source(window: FlagWindow, flags: NewFlags, row: int) -> bool:
    same = flags.quality[row] == window.source_quality[row]
    return bool(same and (flags.reasons[row] or ()) == (window.source_reasons[row] or ()))


def _batch(source_kind: str, actor: str | None) -> dict[str, Any]:
    nothing = dict.fromkeys(("device", "format", "profile", "sha256"))
    return {
        "source_kind": source_kind,
        "source": "quality control" if actor is None else actor,
        "actor": actor,
        "parameters": jsonb({}),
        "received_at": None,  # the database's clock
        "rejected": 0,
        **nothing,
    }
