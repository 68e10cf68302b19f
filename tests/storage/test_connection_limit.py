"""No room for another connection: a clear sentence, and work again when there is."""

from __future__ import annotations

import psycopg
import pytest

from domain.errors import ConnectionLimitError, DiskFullError, UnavailableError
from storage.database import Database, unreachable
from storage.migrate import pending
from tests.waiting import wait_until

pytestmark = pytest.mark.stack


def answers(database: Database) -> bool:
    try:
        database.ping()
    except UnavailableError:
        return False
    return True


def test_a_connection_limit_is_named_and_left_behind(own_database_url: str) -> None:
    server, _, name = own_database_url.rpartition("/")
    role = f"narrow_{name}"
    url = f"postgresql://{role}:narrow@{server.rpartition('@')[2]}/{name}"
    with psycopg.connect(own_database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'narrow' CONNECTION LIMIT 1")
        try:
            with psycopg.connect(url) as only, Database(url, wait_s=0.5) as database:
                with pytest.raises(ConnectionLimitError, match="too many connections"):
                    database.ping()
                with pytest.raises(ConnectionLimitError, match="too many connections"):
                    pending(url)
                only.close()
                wait_until(lambda: answers(database), 60, "a connection of the same pool")
        finally:
            admin.execute(f"DROP ROLE {role}")


def test_a_refused_connection_is_told_apart_by_what_the_server_said() -> None:
    full = unreachable("no connection", "FATAL:  could not write init file: No space left on device")
    assert isinstance(full, DiskFullError)
    assert "make room" in str(full)
    assert isinstance(unreachable("no connection", "FATAL:  sorry, too many clients already"), ConnectionLimitError)
    assert type(unreachable("no connection", "connection refused")) is UnavailableError
    assert str(unreachable("no connection", "")).startswith("database: no connection. Remedy")
