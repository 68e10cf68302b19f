"""Connections: one pool a process, transactions as context managers, and listeners that wait to be woken.

Whatever goes wrong on the way to the server becomes `UnavailableError`, because a retry helps; a statement that the schema
refuses keeps its psycopg class inside this package and becomes a `ConflictError` at its edge. This file finishes with `Listener`.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from domain.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionLimitError,
    DiskFullError,
    RequestError,
    UnavailableError,
)
from storage.arrays import register_arrays

register_arrays()
Connection = psycopg.Connection[Any]

SESSION = (
    "-c timezone=UTC -c datestyle=ISO -c client_min_messages=warning -c plan_cache_mode=force_custom_plan "
    "-c timescaledb.max_tuples_decompressed_per_dml_transaction=0"
)
"""Every connection's settings.

plan_cache_mode: a plan that a connection kept from the time when a chunk was wholly compressed does not see the rows that a later
correction unpacked; TimescaleDB (seen in 2.19.3) does not invalidate it. max_tuples...: a correction of old data may unpack as many
rows as it needs; the server's default refuses beyond 100 000.
"""
CONNECT_TIMEOUT_S = 10
_REMEDY = "see that PostgreSQL runs and that the URL names it; the caller tries again"
_ROOM_REMEDY = "make room where PostgreSQL keeps its data (df -h); the caller tries again, and goes on by itself"
_LIMIT_REMEDY = "raise max_connections or the role's CONNECTION LIMIT, or end other clients; the caller tries again"
_LOCKS_REMEDY = "set max_locks_per_transaction = 1024 in postgresql.conf and restart PostgreSQL"
_LIMIT_WORDS = ("too many connections", "too many clients", "remaining connection slots")
_NO_ROOM_WORDS = "No space left on device"
"""What a refused connection is told apart by: without a connection there is no error code."""


class Database:
    """A pool of connections to one database.

    Parameters
    ----------
    url
        libpq URL, `postgresql://user:password@host:port/database`.
    min_size, max_size
        Bounds of the pool.
    wait_s
        How long a caller waits for a connection before `UnavailableError`.
    """

    def __init__(self, url: str, min_size: int = 1, max_size: int = 8, *, wait_s: float = 10.0) -> None:
        self.url = url
        self._pool = ConnectionPool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=wait_s,
            open=False,
            kwargs={"options": SESSION, "connect_timeout": CONNECT_TIMEOUT_S, "application_name": "groundwatch"},
            check=_check,
            name="groundwatch",
        )

    def open(self) -> Database:
        """Open the pool without waiting for the server."""
        self._pool.open(wait=False)
        return self

    def close(self) -> None:
        """Close every connection; what is in use is left to finish first."""
        self._pool.close()

    def __enter__(self) -> Database:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, awaits_disk: bool = True) -> Iterator[Connection]:
        """Lend a connection in a transaction: committed when the block ends, rolled back when it raises.

        Parameters
        ----------
        awaits_disk
            False where a crash of the server may undo what is committed here, because all of it would be done again then.

        Raises
        ------
        UnavailableError
            The server is out of reach, or broke the transaction off (deadlock, restart): nothing was stored. As `DiskFullError` where it
        has no room left, as `ConnectionLimitError` where it takes no further connection.
        ConfigurationError
            The server has room for too few locks.
        """
        with _told_in_our_words(self._why_none), self._pool.connection() as connection:
            _set_autocommit(connection, False)
            if not awaits_disk:
                connection.execute("SET LOCAL synchronous_commit = off")
            yield connection

    @contextmanager
    def single(self) -> Iterator[Connection]:
        """Lend a connection for single statements: each is a transaction of its own, and costs one exchange with the server, not three.

        Raises
        ------
        UnavailableError, ConfigurationError
            As `transaction`; what an earlier statement stored stays.
        """
        with _told_in_our_words(self._why_none), self._pool.connection() as connection:
            _set_autocommit(connection, True)
            yield connection

    def _why_none(self) -> str:
        """Ask the server itself why the pool gets no connection: the pool knows that it failed, not why."""
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return ""
        except psycopg.OperationalError as error:
            return _first_line(error)

    def ping(self) -> None:
        """Raise `UnavailableError` unless the server answers."""
        with self.transaction() as connection:
            connection.execute("SELECT 1")

    def knock(self) -> None:
        """Raise `UnavailableError` with what the server says where it takes no new connection; the pool would wait longer, and know less."""
        why = self._why_none()
        if why:
            raise unreachable("no connection", why)

    def listen(self, channel: str) -> Listener:
        """Return a listener on a notification channel, with a connection of its own."""
        return Listener(self.url, channel)


def _set_autocommit(connection: Connection, wanted: bool) -> None:
    if connection.autocommit != wanted:
        connection.autocommit = wanted


def _check(connection: Connection) -> None:
    """Raise where a connection of the pool is of no use any more.

    The server is asked only where it said something unasked: a server that ends, or ends a connection, leaves a farewell or the end of the
    stream. Asking each time would cost an exchange for each statement, and finds no more where the way to the server is cut.
    """
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    if heard.poll(0):
        ConnectionPool.check_connection(connection)


@contextmanager
def _told_in_our_words(why_none: Callable[[], str] = str) -> Iterator[None]:
    try:
        yield
    except errors.OutOfMemory as error:
        if "max_locks_per_transaction" in str(error):
            raise ConfigurationError("PostgreSQL has room for too few locks.", remedy=_LOCKS_REMEDY) from error
        raise UnavailableError(_first_line(error), where="database", remedy=_REMEDY) from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        if isinstance(error, psycopg.DataError) and not _is_beyond_us(error):
            raise
        raise RequestError(
            f"a value is beyond what can be stored or looked for: {_first_line(error)}.", remedy="correct the code or the number"
        ) from error
    except errors.DiskFull as error:
        raise DiskFullError(f"the disk is full: {_first_line(error)}", where="database", remedy=_ROOM_REMEDY) from error
    except errors.TooManyConnections as error:
        raise ConnectionLimitError(_first_line(error), where="database", remedy=_LIMIT_REMEDY) from error
    except PoolTimeout as error:
        raise unreachable(_first_line(error), why_none()) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolClosed, TooManyRequests) as error:
        raise UnavailableError(_first_line(error), where="database", remedy=_REMEDY) from error


def unreachable(what: str, why: str) -> UnavailableError:
    """Return the error for a connection that was not to be had, by what the server said of it: a refused connection has no error code."""
    said = f"{what}: {why}" if why else what
    if any(words in why for words in _LIMIT_WORDS):
        return ConnectionLimitError(said, where="database", remedy=_LIMIT_REMEDY)
    if _NO_ROOM_WORDS in why:
        return DiskFullError(said, where="database", remedy=_ROOM_REMEDY)
    return UnavailableError(said, where="database", remedy=_REMEDY)


def _is_beyond_us(error: psycopg.DataError) -> bool:
    """Is it the caller's value: a number or a time out of range, or (found before the server was asked, so without a code) NUL?"""
    return error.sqlstate is None or isinstance(error, errors.NumericValueOutOfRange | errors.DatetimeFieldOverflow)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def refusals_are_conflicts(what: str) -> Iterator[None]:
    """Turn what the schema refuses (a constraint, a key, a trigger) into a `ConflictError` that names it."""
    try:
        yield
    except (psycopg.IntegrityError, errors.RaiseException, errors.InvalidTextRepresentation) as error:
        detail = error.diag.message_detail or error.diag.constraint_name or ""
        reason = error.diag.message_primary or _first_line(error)
        raise ConflictError(f"{what} is refused: {reason}" + (f" ({detail})" if detail else "")) from error


class Listener:
    """Waits on a notification channel. A notification carries no data: it only says that there is something to fetch."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._connection: Connection | None = None

    def wait(self, timeout_s: float) -> bool:
        """Return True when somebody notified within `timeout_s` seconds, False otherwise.

        A notification sent while nobody waits is kept by the connection and returned by the next call. The first call, and the
        first after the connection was lost, returns True at once: what was sent before is unknown.

        Raises
        ------
        UnavailableError
            The server is out of reach.
        """
        with _told_in_our_words():
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
                return True
            try:
                heard = list(self._connection.notifies(timeout=timeout_s, stop_after=1))
            except psycopg.OperationalError:
                self.close()
                raise
            return bool(heard)

    def _connect(self) -> Connection:
        connection = psycopg.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="groundwatch listener"
        )
        try:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
