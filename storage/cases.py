"""Cases and their events: appended in one transaction with the row that lists read. This file finishes with `CaseRepository`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg.rows import dict_row

from domain.case import Case, CaseEvent, CaseStep
from domain.errors import NotFoundError
from storage.database import Connection, Database, refusals_are_conflicts
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("cases")
Fold = Callable[[Sequence[CaseEvent]], Case]
_LISTED = (
    "code",
    "title",
    "region_code",
    "owner",
    "leader",
    "due_at",
    "escalated_to",
    "opened_at",
    "updated_at",
    "closed_at",
    "last_number",
)


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """Which cases to list; an empty tuple or None means any. `overdue_at` asks for those past their date at that moment."""

    states: tuple[str, ...] = ()
    owner: str | None = None
    region_code: str | None = None
    overdue_at: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None


class CaseRepository:
    """Keeps cases as events; `fold` (of the alerts floor) tells where a case stands."""

    def __init__(self, database: Database, fold: Fold) -> None:
        self._database = database
        self._fold = fold

    def open(self, prefix: str, first: Callable[[str], CaseEvent]) -> Case:
        """Open the next case of a region and year.

        Parameters
        ----------
        prefix
            `{region}-{year}-`; the number follows with at least four digits.
        first
            Makes the collecting event for a code.

        Raises
        ------
        NotFoundError
            An alert that the event names is not there.
        """
        with self._database.transaction() as connection, refusals_are_conflicts("the case"):
            connection.execute(SQL.lock_numbering)
            row = connection.execute(SQL.next_number, [prefix]).fetchone()
            assert row is not None
            event = first(f"{prefix}{row[0]:04d}")
            case = self._fold([event])
            connection.execute(SQL.insert_case, _listed(case))
            connection.execute(SQL.insert_event, _event_parameters(event))
            for identifier in case.alerts:
                _link(connection, case.code, identifier)
        return case

    def append(self, code: str, make: Callable[[Case], CaseEvent]) -> Case:
        """Append the event that `make` returns for the case as it stands, under a lock; what `make` raises is passed on.

        Raises
        ------
        NotFoundError
            There is no such case, or no such alert to link.
        """
        with self._database.transaction() as connection, refusals_are_conflicts(f"case {code}"):
            if connection.execute(SQL.lock_case, [code]).fetchone() is None:
                raise NotFoundError(f"there is no case {code!r}.", where="case", remedy="the cases are listed at /api/v1/cases")
            events = _events(connection, [code])
            event = make(self._fold(events))
            connection.execute(SQL.insert_event, _event_parameters(event))
            if event.step is CaseStep.LINK:
                _link(connection, code, str(event.detail["alert"]))
            case = self._fold([*events, event])
            connection.execute(SQL.update_case, _listed(case))
        return case

    def case(self, code: str) -> Case | None:
        """Return a case, or None."""
        found = self.events(code)
        return self._fold(found) if found else None

    def events(self, code: str) -> Sequence[CaseEvent]:
        """Return the steps of a case, first to last."""
        with self._database.transaction() as connection:
            return _events(connection, [code])

    def list_cases(
        self, wanted: CaseQuery, *, after: tuple[datetime, str] | None = None, limit: int = 100
    ) -> tuple[list[Case], tuple[datetime, str] | None]:
        """Return a page of cases, newest change first, and the key of the next one (None = last)."""
        parameters = {
            "states": list(wanted.states),
            "owner": wanted.owner,
            "region_code": wanted.region_code,
            "overdue_at": wanted.overdue_at,
            "since": wanted.since,
            "until": wanted.until,
            "after_time": after[0] if after else None,
            "after_code": after[1] if after else None,
            "limit": limit + 1,
        }
        with self._database.transaction() as connection:
            rows = connection.execute(SQL.list_codes, parameters).fetchall()
            codes = [row[0] for row in rows[:limit]]
            told = {code: list(group) for code, group in groupby(_events(connection, codes), key=lambda event: event.case_code)}
        following = (rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None
        return [self._fold(told[code]) for code in codes], following

    def of_alert(self, identifier: str) -> list[str]:
        """Return the codes of the cases that an alert led to."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(SQL.cases_of_alert, [identifier])]

    def counts(self, now: datetime) -> dict[str, tuple[int, int]]:
        """Return by state how many cases there are and how many of them are overdue."""
        with self._database.transaction() as connection:
            return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(SQL.counts, {"now": now})}


def _events(connection: Connection, codes: Sequence[str]) -> list[CaseEvent]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [CaseEvent(**{**row, "step": CaseStep(row["step"])}) for row in cursor.execute(SQL.events_of, [list(codes)])]


def _event_parameters(event: CaseEvent) -> dict[str, Any]:
    return {
        "case_code": event.case_code,
        "number": event.number,
        "step": event.step.value,
        "actor": event.actor,
        "recorded_at": event.recorded_at,
        "note": event.note,
        "detail": jsonb(event.detail),
    }


def _listed(case: Case) -> Mapping[str, Any]:
    return {**{name: getattr(case, name) for name in _LISTED}, "state": case.state.value}


def _link(connection: Connection, code: str, identifier: str) -> None:
    if connection.execute(SQL.link_alert, {"code": code, "identifier": identifier}).fetchone() is None:
        raise NotFoundError(
            f"there is no alert {identifier!r}.", where="alert", remedy="the alerts are listed at /api/v1/alerts?state=all"
        )
