"""Verdicts of people on alerts, and what the metrics of alarms are made from. This file finishes with `AlarmQualityRepository`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from psycopg.rows import class_row, dict_row

from domain.alert import Level
from domain.case import CaseVerdict
from domain.errors import NotFoundError
from storage.database import Database, refusals_are_conflicts
from storage.queries import load_statements

SQL = load_statements("alarm_quality")
EpisodeT = TypeVar("EpisodeT")
NoticeT = TypeVar("NoticeT")


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What one person found an alert to be."""

    verdict: str
    actor: str
    note: str
    recorded_at: datetime


class AlarmQualityRepository(Generic[EpisodeT, NoticeT]):
    """Reads what the metrics need; `episode` and `notice` make the records of the alerts floor."""

    def __init__(self, database: Database, episode: Callable[..., EpisodeT], notice: Callable[..., NoticeT]) -> None:
        self._database = database
        self._episode = episode
        self._notice = notice

    def add_verdict(self, alert_id: int, verdict: CaseVerdict, actor: str, note: str, now: datetime) -> None:
        """Append a person's verdict; NotFoundError where there is no such alert."""
        parameters = {"alert_id": alert_id, "verdict": verdict.value, "actor": actor, "note": note, "recorded_at": now}
        with self._database.transaction() as connection, refusals_are_conflicts("the verdict"):
            if connection.execute(SQL.alert_exists, [alert_id]).fetchone() is None:
                raise NotFoundError(f"there is no alert {alert_id}.")
            connection.execute(SQL.insert_verdict, parameters)

    def verdicts(self, alert_id: int) -> list[VerdictRow]:
        """Return every verdict on an alert, first to last; the last one counts."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(VerdictRow)) as cursor:
            return cursor.execute(SQL.verdicts_of, [alert_id]).fetchall()

    def episodes(self, start: datetime, end: datetime) -> list[EpisodeT]:
        """Return alerts that stood at any time of `start` <= t < `end`."""
        return [self._episode(**_typed(row)) for row in self._rows(SQL.episodes, start, end)]

    def judged(self, rule_code: str) -> list[tuple[str, datetime, datetime | None, CaseVerdict]]:
        """Return scope, onset, end and last verdict of a rule's episodes that people said something of."""
        with self._database.transaction() as connection:
            rows = connection.execute(SQL.judged_of_rule, [rule_code]).fetchall()
        return [(row[0], row[1], row[2], CaseVerdict(row[3])) for row in rows]

    def notices(self, start: datetime, end: datetime) -> list[NoticeT]:
        """Return messages that entered the outbox in a period."""
        return [self._notice(**row) for row in self._rows(SQL.notices, start, end)]

    def _rows(self, statement: bytes, start: datetime, end: datetime) -> list[dict[str, Any]]:
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, {"start": start, "end": end}).fetchall()


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    verdict = None if row["verdict"] is None else CaseVerdict(row["verdict"])
    return {**row, "peak": Level(row["peak"]), "fired": tuple(row["fired"]), "verdict": verdict}
