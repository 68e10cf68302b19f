"""Migrations: yoyo over the plain SQL files of `storage/migrations`, one migrator at a time.

Forward only (see the decision record on migrations): what a migration did is undone by a later one or by restoring a backup.
This file finishes with `edition`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import yoyo

from domain.errors import ConfigurationError
from storage.database import unreachable
from storage.queries import load_statements

SQL = load_statements("migrate")
FOLDER = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 271828182
"""Key of the advisory lock that one migrator holds: unlike a row in a lock table it dies with its session."""

OLDEST_POSTGRESQL = 160000


def migrate(url: str, on_applied: Callable[[str], None] | None = None) -> list[str]:
    """Bring the schema up to date; running it again, or twice at once, changes nothing more.

    Parameters
    ----------
    url
        libpq URL of the database.
    on_applied
        Called with the name of each migration after it was applied.

    Returns
    -------
    list of str
        What was applied, in order.

    Raises
    ------
    UnavailableError
        The server is out of reach.
    ConfigurationError
        The server is too old, lacks TimescaleDB, cannot read what another edition compressed, or refused a migration; what came
        before it stays applied.
    """
    with _only_migrator(url) as connection:
        _check_server(connection)
        _check_edition(connection)
        applied = _apply(url, on_applied)
        # A database that moved to the other edition of TimescaleDB gets that edition's roll-ups, under the same names.
        connection.execute(SQL.ensure_rollups)
        return applied


def _apply(url: str, on_applied: Callable[[str], None] | None) -> list[str]:
    applied: list[str] = []
    with _backend(url) as backend:
        # We hold the advisory lock, so a row in yoyo's own lock table was left by a migrator that died.
        backend.break_lock()
        with backend.lock():
            for migration in backend.to_apply(_migrations()):
                try:
                    backend.apply_one(migration)
                except psycopg.Error as error:
                    raise ConfigurationError(
                        f"the database refuses migration {migration.id}: {str(error).strip()}",
                        where=str(migration.path),
                        remedy="the migration was rolled back; give the role the right that is missing and migrate again",
                    ) from error
                applied.append(migration.id)
                if on_applied is not None:
                    on_applied(migration.id)
    return applied


def pending(url: str) -> list[str]:
    """Return the names of the migrations that are not applied yet, in order."""
    with _connection(url) as connection:
        row = connection.execute(SQL.has_migration_table).fetchone()
        done = {name for (name,) in connection.execute(SQL.applied_migrations)} if row and row[0] else set()
    return [migration.id for migration in _migrations() if migration.id not in done]


def edition(url: str) -> str:
    """Return the edition of TimescaleDB: `apache` (hypertables alone) or `timescale` (Community)."""
    with _connection(url) as connection:
        row = connection.execute(SQL.edition).fetchone()
    return str(row[0]) if row else "apache"


def _migrations() -> Any:
    return yoyo.read_migrations(str(FOLDER))


@contextmanager
def _backend(url: str) -> Iterator[Any]:
    backend = yoyo.get_backend(_yoyo_url(url))
    try:
        backend.init_database()
        yield backend
    finally:
        backend.connection.close()


def _yoyo_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(("postgresql+psycopg", *parts[1:]))


@contextmanager
def _connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="groundwatch migrate")
    except psycopg.OperationalError as error:
        raise unreachable("the database cannot be reached", str(error).strip()) from error
    with connection:
        yield connection


@contextmanager
def _only_migrator(url: str) -> Iterator[psycopg.Connection[Any]]:
    with _connection(url) as connection:
        connection.execute(SQL.wait_for_migrators, [MIGRATION_LOCK])
        yield connection


def _check_server(connection: psycopg.Connection[Any]) -> None:
    if connection.info.server_version < OLDEST_POSTGRESQL:
        raise ConfigurationError(
            f"PostgreSQL {connection.info.server_version // 10000} is too old.",
            remedy="use PostgreSQL 16 or newer with TimescaleDB",
        )
    row = connection.execute(SQL.timescaledb_is_available).fetchone()
    if row is None or not row[0]:
        raise ConfigurationError(
            "the PostgreSQL server has no TimescaleDB.",
            remedy="install TimescaleDB 2.17 or newer and put it into shared_preload_libraries",
        )


def _check_edition(connection: psycopg.Connection[Any]) -> None:
    """Refuse the Apache edition over compressed chunks: it reads them as empty, without an error."""
    row = connection.execute(SQL.edition).fetchone()
    installed = connection.execute(SQL.has_extension).fetchone()
    if (row is not None and row[0] == "timescale") or installed is None or not installed[0]:
        return
    packed = connection.execute(SQL.has_compressed_chunks).fetchone()
    if packed is not None and packed[0]:
        raise ConfigurationError(
            "the database holds observations that TimescaleDB Community compressed; the Apache edition cannot read them.",
            remedy="serve it with the Community edition; to leave that, first run there "
            "SELECT remove_compression_policy('observation'); SELECT decompress_chunk(c, true) FROM show_chunks('observation') c;",
        )
