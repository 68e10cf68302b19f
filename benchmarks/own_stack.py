"""An embedded stack for benchmarks, with a fresh database for every measurement. This file finishes with `BenchStack`."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from service.bootstrap import Container
from service.embedded import EmbeddedStack
from service.settings import Settings
from storage.migrate import migrate

ROOT = Path(__file__).resolve().parents[1]


class BenchStack:
    """A stack whose programs are shared with the tests' and whose data are thrown away."""

    def __init__(self, stack: EmbeddedStack, home: Path) -> None:
        self.stack = stack
        self.home = home
        self._server = stack.addresses.database_url.rpartition("/")[0]

    @contextmanager
    def database(self) -> Iterator[str]:
        """Lend the URL of a fresh migrated database."""
        name = f"bench_{uuid.uuid4().hex[:10]}"
        with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = f"{self._server}/{name}"
        migrate(url)
        try:
            yield url
        finally:
            with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def container(self, url: str) -> Container:
        """Return a container on a database of `database`."""
        return Container(Settings(home=self.home, database_url=url, mqtt_url=self.stack.addresses.mqtt_url_with_login))


@contextmanager
def bench_stack() -> Iterator[BenchStack]:
    """Start a durable stack (commits are flushed as in production) in a scratch home."""
    packages = Path(os.environ.get("GROUNDWATCH_TEST_HOME") or ROOT / ".home" / "test") / "embedded" / "packages"
    with tempfile.TemporaryDirectory(prefix="groundwatch-bench-", dir="/var/tmp") as scratch:
        home = Path(scratch)
        home.chmod(0o755)
        with EmbeddedStack(home, packages=packages) as stack:
            yield BenchStack(stack, home)
