"""Licences in versions: appended, never changed. This file finishes with `node_day`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from psycopg.rows import dict_row

from domain.licence import Licence
from storage.database import Connection
from storage.queries import load_statements
from storage.register_rows import values_of

SQL = load_statements("licences")


def licences(connection: Connection, *, station: str | None = None, code: str | None = None) -> list[Licence]:
    """Return every version of the licences of a station, of a code, or of all; the versions of one licence in the order of their days."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Licence(**row) for row in cursor.execute(SQL.licences, {"station": station, "code": code})]


def add_licence(connection: Connection, licence: Licence) -> bool:
    """Add a version unless it is stored like that, and leave work for its station; False where the station is unknown.

    Where no beginning is stated it is `valid_from` for a new licence and today, in the node's zone, for a change: what was judged by the
    licence as it stood stays as it is.
    """
    connection.execute(SQL.lock_licence, [licence.code])
    known = licences(connection, code=licence.code)
    if any(_says_the_same(licence, version) for version in _comparable(licence, known)):
        return True
    begins = licence.effective_from or (node_day(connection) if known else licence.valid_from)
    if connection.execute(SQL.add_licence_version, {**values_of(licence), "effective_from": begins}).fetchone() is None:
        return False
    connection.execute(SQL.leaves_work, [sorted({licence.station, *(version.station for version in known)})])
    return True


def _comparable(licence: Licence, known: Sequence[Licence]) -> Sequence[Licence]:
    """Return the stored version that a statement is held against: that of its day, or the newest where it states none."""
    if licence.effective_from is None:
        return known[-1:]
    return [version for version in known if version.effective_from == licence.effective_from]


def _says_the_same(licence: Licence, stored: Licence) -> bool:
    return replace(stored, effective_from=None, superseded_on=None) == replace(licence, effective_from=None, superseded_on=None)


def node_day(connection: Connection) -> date:
    """Return today in the node's zone."""
    row = connection.execute(SQL.node_day).fetchone()
    assert row is not None
    day: date = row[0]
    return day
