"""Connections that are lent: single statements beside transactions, and what a server's end leaves in the pool."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from domain.model import Datastream
from storage.commit import commit_batch
from storage.database import Database
from tests.storage.batches import batch_of

pytestmark = pytest.mark.stack


@pytest.fixture
def one(database_url: str) -> Iterator[Database]:
    """A pool of one connection, so that whoever asks gets the one that was used before."""
    with Database(database_url, max_size=1) as opened:
        yield opened


def note(text: str) -> tuple[str, list[str]]:
    """A statement that leaves a trace."""
    return "INSERT INTO process_status (process, instance, pid, host, detail) VALUES ('test', %s, 1, 'here', '{}')", [text]


def is_noted(database: Database, text: str) -> bool:
    with database.single() as connection:
        return connection.execute("SELECT FROM process_status WHERE instance = %s", [text]).fetchone() is not None


def test_a_single_statement_is_stored_at_once_and_a_transaction_only_as_a_whole(one: Database) -> None:
    kept, undone, whole = (uuid4().hex for _ in range(3))
    with pytest.raises(ZeroDivisionError), one.single() as connection:
        connection.execute(*note(kept))
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), one.transaction() as connection:
        connection.execute(*note(undone))
        raise ZeroDivisionError
    with one.transaction() as connection:
        connection.execute(*note(whole))
    assert [is_noted(one, text) for text in (kept, undone, whole)] == [True, False, True]


def test_a_connection_that_the_server_ended_is_replaced_before_it_is_lent(one: Database, database_url: str) -> None:
    with one.single() as connection:
        before = connection.info.backend_pid
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [before])
    with one.single() as connection:
        assert connection.execute("SELECT pg_backend_pid()").fetchone() != (before,)


def test_only_who_can_do_all_again_does_not_wait_for_the_disk(one: Database) -> None:
    told = []
    for awaits_disk in (False, True):
        with one.transaction(awaits_disk=awaits_disk) as connection:
            told.append(connection.execute("SHOW synchronous_commit").fetchone())
    assert told == [("off",), ("on",)]


def test_plans_are_made_anew_again_for_what_follows_a_commit_in_its_transaction(one: Database, datastream: Datastream) -> None:
    with one.transaction() as connection:
        commit_batch(connection, batch_of(datastream, [0], [1.0]))
        assert connection.execute("SHOW plan_cache_mode").fetchone() == ("force_custom_plan",)
