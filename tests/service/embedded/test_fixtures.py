"""The suite's own fixtures: each module gets a migrated database that nobody else writes to."""

from __future__ import annotations

import psycopg
import pytest

pytestmark = pytest.mark.stack


def test_the_database_of_a_module_is_migrated(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM timescaledb_information.hypertables").fetchone()
        assert row is not None
        assert row[0] >= 1


def test_a_database_of_its_own_is_another_one(database_url: str, own_database_url: str, empty_database_url: str) -> None:
    assert len({database_url, own_database_url, empty_database_url}) == 3
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('observation')").fetchone() == (None,)
    with psycopg.connect(own_database_url) as connection:
        assert connection.execute("SELECT to_regclass('observation') IS NOT NULL").fetchone() == (True,)
