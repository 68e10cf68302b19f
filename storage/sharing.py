"""The feed of changes: the ledger read in order, each entry with what it says.

Sequences are given in commit order, so a reader that keeps its cursor neither loses nor repeats anything, however many
writers there are. A batch is told as it was committed, also after a later batch corrected it: whoever applies the entries in
order has what we have. This file finishes with `ChangesRepository`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg.rows import class_row

from domain.errors import RequestError
from storage.analyses import FindingRow
from storage.database import Connection, Database
from storage.queries import load_statements

SQL = load_statements("sharing")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SharedObservation:
    """One observation as a batch said it."""

    phenomenon_time: datetime
    phenomenon_end: datetime | None
    result: float | None
    sigma: float | None
    quality: int
    quality_reasons: list[str] | None
    result_time: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    `kind` is observations, insar_delivery, station, sensor, datastream, licence, limit, version, event, rule, alert or run;
    `reference` names the entry of that kind (a code, a rule and version, an identifier). Only what belongs to the kind is filled:
    `observations` of one batch and datastream (a long batch comes in several changes), the identifiers of `alerts`, or the `findings`
    that runs made and the ids of those that they superseded.
    """

    seq: int
    kind: str
    reference: str
    recorded_at: datetime
    datastream_id: int | None = None
    batch_id: int | None = None
    observations: tuple[SharedObservation, ...] = ()
    alerts: tuple[str, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    superseded_findings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in order, and the cursor that continues after them; `more` is False when the reader is up to date."""

    changes: tuple[Change, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Told already: every entry before `seq`, and of `seq` the datastreams before this one and its times up to `time`."""

    seq: int
    datastream_id: int = 0
    time: datetime | None = None


class ChangesRepository:
    """Reads the ledger as a feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, cursor: str | None, limit: int = 1000, *, hidden: Set[int] = frozenset()) -> ChangePage:
        """Return the changes after `cursor` (None = from the beginning), at most `limit` observations and entries together.

        Parameters
        ----------
        cursor
            Where the page before ended.
        limit
            Most observations and entries to return.
        hidden
            Ids of datastreams whose observations the reader may not see: they are passed over unread and take no room.

        Raises
        ------
        RequestError
            The cursor is not one of ours, or `limit` is not positive.
        """
        if limit < 1:
            raise RequestError("limit must be 1 or more.", where="limit")
        place = _Place(1) if cursor is None else _decode(cursor)
        changes: list[Change] = []
        room = limit
        with self._database.transaction() as connection:
            entries = connection.execute(SQL.ledger, {"first": place.seq, "limit": limit + 1}).fetchall()
            for seq, kind, reference, recorded_at in entries:
                if room <= 0:
                    return ChangePage(tuple(changes), _encode(place), more=True)
                here = place if place.seq == seq else _Place(seq)
                if kind == "batch":
                    told, unfinished = _told_of_batch(connection, here, recorded_at, room, hidden)
                else:
                    told, unfinished = [_told_of_entry(connection, seq, kind, reference, recorded_at)], None
                changes += told
                room -= sum(max(1, len(change.observations)) for change in told)
                if unfinished is not None:
                    return ChangePage(tuple(changes), _encode(unfinished), more=True)
                place = _Place(seq + 1)
        return ChangePage(tuple(changes), _encode(place), more=len(entries) > limit)

    def current_cursor(self) -> str:
        """Return the cursor after everything that is committed: a reader that begins here gets only what is new."""
        return _encode(_Place(self.current_seq() + 1))

    def current_seq(self) -> int:
        """Return the newest ledger sequence."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.current_seq).fetchone()
        return int(row[0]) if row else 0

    def seq_at(self, moment: datetime) -> int:
        """Return the ledger sequence that "as of `moment`" means (0 = before everything)."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.seq_at, [moment]).fetchone()
        return int(row[0]) if row else 0


def _told_of_batch(
    connection: Connection, place: _Place, recorded_at: datetime, room: int, hidden: Set[int]
) -> tuple[list[Change], _Place | None]:
    """Return the changes of a batch from `place` on, and where to go on when there was no room for all of it."""
    changes: list[Change] = []
    touched = connection.execute(SQL.touched, {"seq": place.seq, "first": place.datastream_id}).fetchall()
    if not touched and not place.datastream_id:
        row = connection.execute(SQL.delivery_of_batch, {"seq": place.seq}).fetchone()
        return ([] if row is None else [Change(place.seq, "insar_delivery", str(row[0]), recorded_at)]), None
    for batch_id, datastream_id, time_from, time_to in touched:
        if datastream_id in hidden:
            continue
        if room <= 0:
            return changes, _Place(place.seq, datastream_id)
        after = place.time if datastream_id == place.datastream_id else None
        parameters = {
            "batch_id": batch_id,
            "datastream_id": datastream_id,
            "time_from": time_from,
            "time_to": time_to,
            "after": "-infinity" if after is None else after,
            "limit": room + 1,
        }
        with connection.cursor(row_factory=class_row(SharedObservation)) as cursor:
            rows = cursor.execute(SQL.observations_of_batch, parameters).fetchall()
        told = tuple(rows[:room])
        if told:
            changes.append(
                Change(place.seq, "observations", str(batch_id), recorded_at, datastream_id, batch_id, observations=told)
            )
        if len(rows) > room:
            return changes, _Place(place.seq, datastream_id, told[-1].phenomenon_time)
        room -= len(told)
    return changes, None


def _told_of_entry(connection: Connection, seq: int, kind: str, reference: str, recorded_at: datetime) -> Change:
    if kind == "configuration":
        noun, _, name = reference.partition(":")
        return Change(seq, noun, name, recorded_at)
    if kind == "alert":
        identifiers = tuple(row[0] for row in connection.execute(SQL.alerts_of, {"seq": seq}))
        return Change(seq, kind, reference, recorded_at, alerts=identifiers)
    if kind == "run":
        with connection.cursor(row_factory=class_row(FindingRow)) as cursor:
            findings = tuple(cursor.execute(SQL.findings_of, {"seq": seq}))
        gone = tuple(row[0] for row in connection.execute(SQL.superseded_findings_of, {"seq": seq}))
        run = connection.execute(SQL.runs_of, {"seq": seq}).fetchone()
        return Change(seq, kind, reference, recorded_at, run[1] if run else None, findings=findings, superseded_findings=gone)
    return Change(seq, kind, reference, recorded_at)


def _encode(place: _Place) -> str:
    time = "" if place.time is None else str((place.time - _EPOCH) // _MICROSECOND)
    return base64.urlsafe_b64encode(f"{place.seq}.{place.datastream_id}.{time}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> _Place:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        seq, datastream_id, time = text.split(".")
        moment = _EPOCH + int(time) * _MICROSECOND if time else None
        place = _Place(int(seq), int(datastream_id), moment)
    except (ValueError, binascii.Error, OverflowError) as error:
        raise RequestError(
            "the cursor is not one of ours.", where="cursor", remedy="go on with the cursor of the page before"
        ) from error
    if place.seq < 1 or place.seq > 2**62 or not 0 <= place.datastream_id < 2**31 or _encode(place) != cursor:
        raise RequestError("the cursor is not one of ours.", where="cursor", remedy="go on with the cursor of the page before")
    return place
