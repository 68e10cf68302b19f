"""Signs of life in the database: one row a process, ages by its clock, what was replaced, what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from storage.database import Database
from storage.heartbeats import HeartbeatRepository, Process

pytestmark = pytest.mark.stack
HOUR = timedelta(hours=1)


@pytest.fixture
def database(own_database_url: str) -> Iterator[Database]:
    with Database(own_database_url) as database:
        yield database


def process(instance: str, name: str = "ingest") -> Process:
    return Process(name, instance, 42, "host")


def grow_old(database: Database, instance: str, seconds: float) -> None:
    with database.transaction() as connection:
        connection.execute(
            "UPDATE process_status SET started_at = started_at - make_interval(secs => %(age)s),"
            " seen_at = seen_at - make_interval(secs => %(age)s) WHERE instance = %(instance)s",
            {"age": seconds, "instance": instance},
        )


def test_a_process_has_one_row_with_its_newest_detail(database: Database) -> None:
    heartbeats = HeartbeatRepository(database)
    heartbeats.beat(process("a"), {"queued": 1})
    heartbeats.beat(process("a"), {"queued": 2})
    (row,) = heartbeats.recent(HOUR)
    assert (row.process, row.instance, row.pid, row.host, row.detail) == ("ingest", "a", 42, "host", {"queued": 2})
    assert 0 <= row.age_s < 30
    assert row.started_at < row.seen_at
    heartbeats.withdraw(process("a"))
    assert heartbeats.recent(HOUR) == []


def test_one_that_started_after_the_last_sign_of_another_replaces_it(database: Database) -> None:
    heartbeats = HeartbeatRepository(database)
    heartbeats.beat(process("old"), {})
    heartbeats.beat(process("beside"), {})
    heartbeats.beat(process("worker", "worker"), {})
    heartbeats.beat(process("old"), {})
    assert not any(row.replaced for row in heartbeats.recent(HOUR))
    grow_old(database, "old", 60)
    assert {row.instance for row in heartbeats.recent(HOUR) if row.replaced} == {"old"}
    heartbeats.withdraw(process("beside"))
    assert not any(row.replaced for row in heartbeats.recent(HOUR))


def test_what_is_long_gone_is_neither_missed_nor_kept(database: Database) -> None:
    heartbeats = HeartbeatRepository(database)
    heartbeats.beat(process("gone"), {})
    heartbeats.beat(process("here"), {})
    grow_old(database, "gone", 3700)
    assert [row.instance for row in heartbeats.recent(HOUR)] == ["here"]
    assert heartbeats.forget(timedelta(days=1)) == 0
    assert heartbeats.forget(HOUR) == 1
    assert [row.instance for row in heartbeats.recent(timedelta(days=2))] == ["here"]
