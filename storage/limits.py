"""Limits in versions: appended, never changed. This file finishes with `add_limit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from psycopg.rows import dict_row

from domain.licence import Limit
from storage.database import Connection
from storage.licences import node_day
from storage.queries import load_statements
from storage.register_rows import values_of

SQL = load_statements("limits")


def limits(connection: Connection) -> list[Limit]:
    """Return every version of every limit, most general first, each with the day on which the next one begins as its end."""
    return _read(connection, SQL.limits, [])


def add_limit(connection: Connection, limit: Limit) -> bool:
    """Add a version unless it is stored like that, leave work for what it applies to, and return whether it was added.

    Where no beginning is stated a new limit holds always and a change begins today, in the node's zone: what was judged by the limit as it
    stood stays as it is. One of a day that has a version already corrects that version.
    """
    connection.execute(SQL.lock_limit, [limit.code])
    known = _read(connection, SQL.versions_of, [limit.code])
    if any(_undated(limit) == _undated(version) for version in _comparable(limit, known)):
        return False
    begins = node_day(connection) if known and limit.effective_from is None else limit.effective_from
    connection.execute(SQL.add_version, {**values_of(limit), "effective_from": begins})
    for changed in {_reach(item): item for item in (*known[-1:], limit)}.values():
        connection.execute(SQL.leaves_work, values_of(changed))
    return True


def _comparable(limit: Limit, known: Sequence[Limit]) -> Sequence[Limit]:
    """Return the stored version that a statement is held against: that of its day, or the newest where it states none."""
    if limit.effective_from is None:
        return known[-1:]
    return [version for version in known if version.effective_from == limit.effective_from]


def _undated(limit: Limit) -> Limit:
    return replace(limit, effective_from=None)


def _reach(limit: Limit) -> tuple[str | None, ...]:
    """Return what tells the datastreams that one limit applies to from those of another."""
    return limit.property_code, limit.zone_code, limit.aquifer, limit.station


def _read(connection: Connection, statement: bytes, parameters: Sequence[str]) -> list[Limit]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Limit(**row) for row in cursor.execute(statement, parameters)]
