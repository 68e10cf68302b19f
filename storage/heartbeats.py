"""Signs of life of the processes that serve nobody: ingest and worker. What they write is read by readiness and metrics.

This file finishes with `HeartbeatRepository`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from storage.database import Database
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("heartbeats")


@dataclass(frozen=True, slots=True)
class Process:
    """Which process it is: `instance` is unique among the running ones of its name."""

    name: str
    instance: str
    pid: int
    host: str


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """The newest sign of life of a process, and its age (s); every time is by the database's clock.

    `replaced` is true when another process of the name started after this one was last seen.
    """

    process: str
    instance: str
    pid: int
    host: str
    started_at: datetime
    seen_at: datetime
    detail: Mapping[str, Any]
    age_s: float
    replaced: bool


class HeartbeatRepository:
    """Keeps one row a process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, process: Process, detail: Mapping[str, Any]) -> None:
        """Say that a process lives, and how it fares."""
        parameters = {
            "process": process.name,
            "instance": process.instance,
            "pid": process.pid,
            "host": process.host,
            "detail": jsonb(detail),
        }
        with self._database.transaction() as connection:
            connection.execute(SQL.beat, parameters)

    def withdraw(self, process: Process) -> None:
        """Take the row of a process away that ends in order: nobody misses it."""
        with self._database.transaction() as connection:
            connection.execute(SQL.withdraw, [process.name, process.instance])

    def recent(self, within: timedelta) -> list[ProcessRow]:
        """Return the processes that were seen within a time, by name and instance."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(ProcessRow)) as cursor:
            return cursor.execute(SQL.recent, [within]).fetchall()

    def forget(self, older_than: timedelta) -> int:
        """Remove processes that were not seen for a time; return how many."""
        with self._database.transaction() as connection:
            return connection.execute(SQL.forget, [older_than]).rowcount
