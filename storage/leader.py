"""One leader at a time, by an advisory lock on a connection of its own: it ends with the process, however that ends.

This file finishes with `Leadership`.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import psycopg

from domain.errors import UnavailableError
from storage.database import CONNECT_TIMEOUT_S, Database
from storage.queries import load_statements

SQL = load_statements("leader")


class Leadership:
    """Leadership in one matter (`name`) among all processes of a node."""

    def __init__(self, database: Database, name: str) -> None:
        self._url = database.url
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)
        self._connection: psycopg.Connection[Any] | None = None

    def try_acquire(self) -> bool:
        """Become the leader if nobody is; return whether we lead now.

        Raises
        ------
        UnavailableError
            The server is out of reach.
        """
        if self.held():
            return True
        try:
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="groundwatch leader"
            )
        except psycopg.OperationalError as error:
            raise UnavailableError(f"the database cannot be reached: {error}", where="database") from error
        row = connection.execute(SQL.try_lock, [self._key]).fetchone()
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def held(self) -> bool:
        """Tell whether we lead still: the connection that holds the lock must answer."""
        connection = self._connection  # several threads may ask at the same time
        if connection is None:
            return False
        try:
            connection.execute(SQL.ping)
        except psycopg.OperationalError:
            connection.close()
            self._connection = None
            return False
        return True

    def release(self) -> None:
        """Step down; whoever asks next can lead at once."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        # Closing alone would free the lock only when the server gets round to ending the session.
        with connection, suppress(psycopg.OperationalError):
            connection.execute(SQL.unlock, [self._key])
