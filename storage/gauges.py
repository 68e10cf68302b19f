"""Gauges: what metrics, readiness and live pages ask of the database, all of it cheap.

This file finishes with `GaugeRepository`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from storage.database import Database
from storage.queries import load_statements

SQL = load_statements("gauges")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gauges:
    """One reading of everything that is measured about the service itself."""

    ingest: list[Row]
    lag: list[Row]
    work: list[Row]
    alerts: list[Row]
    outbox: list[Row]
    quarantined: int
    live: Row


@dataclass(frozen=True, slots=True)
class Touched:
    """What changed after a ledger sequence: up to which one, which kinds of entries, which datastreams."""

    seq: int
    kinds: frozenset[str]
    datastream_ids: tuple[int, ...]


class GaugeRepository:
    """Reads counts and ages; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, now: datetime) -> Gauges:
        """Return all gauges as of one transaction."""
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            quarantined = cursor.execute(SQL.quarantine).fetchone()
            live = cursor.execute(SQL.live, {"now": now}).fetchone()
            return Gauges(
                ingest=cursor.execute(SQL.ingest).fetchall(),
                lag=cursor.execute(SQL.last_lag).fetchall(),
                work=cursor.execute(SQL.work).fetchall(),
                alerts=cursor.execute(SQL.alerts).fetchall(),
                outbox=cursor.execute(SQL.outbox).fetchall(),
                quarantined=int(quarantined["rejects"]) if quarantined else 0,
                live=dict(live or {}),
            )

    def touched_since(self, seq: int) -> Touched:
        """Return what changed after the ledger sequence `seq`."""
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            newest = cursor.execute(SQL.kinds_since, {"seq": seq}).fetchone()
            if newest is None or newest["seq"] == seq:
                return Touched(seq, frozenset(), ())
            kinds = frozenset(newest["kinds"])
            ids: tuple[int, ...] = ()
            if kinds & {"batch", "override", "deletion"}:
                rows = cursor.execute(SQL.touched_since, {"seq": seq, "upto": newest["seq"]})
                ids = tuple(row["datastream_id"] for row in rows)
            return Touched(int(newest["seq"]), kinds, ids)
