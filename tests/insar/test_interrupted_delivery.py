"""`groundwatch import` of a delivery, ended at its last moment: all is loaded and kept, nothing is committed, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from service.bootstrap import Container
from tests.insar.samples import make, write_egms

pytestmark = pytest.mark.stack
POINTS = 6000
PATIENCE_S = 120.0
KILLED, INTERRUPTED = -signal.SIGKILL, 130
WAITS_FOR_THE_LEDGER = """
SELECT count(*) FROM pg_locks AS waiting JOIN pg_locks AS loading USING (pid)
WHERE waiting.relation = 'ledger'::regclass AND NOT waiting.granted
  AND loading.locktype = 'advisory' AND loading.objid = 577215664 AND loading.granted
"""
NOBODY_LOADS = "SELECT (count(*) = 0)::integer FROM pg_locks WHERE locktype = 'advisory' AND objid = 577215664"


def started(path: Path, name: str, container: Container, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "GROUNDWATCH_DATABASE_URL": container.database_url, "GROUNDWATCH_HOME": str(home)}
    words = ["import", str(path), "--profile=egms", "--station=KILL-AREA", "--track=asc-80", f"--delivery={name}", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *words],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


@contextmanager
def ledger_held(url: str) -> Iterator[psycopg.Connection]:
    """Hold the ledger, whose lock an import takes last."""
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        yield holder


def relations(container: Container) -> tuple[int, int, int]:
    with psycopg.connect(container.database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'insar%'), (SELECT count(*) FROM ledger),"
            " (SELECT count(*) FROM ingest_batch)"
        ).fetchone()
    assert row is not None
    return row


def until(condition: str, url: str, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a count is not 0, as long as the process runs."""
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(condition.encode()).fetchone() == (0,):
            assert process is None or process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, KILLED), (signal.SIGINT, INTERRUPTED)], ids=["SIGKILL", "SIGINT"])
def test_a_delivery_that_is_ended_before_its_commit_leaves_nothing_and_comes_in_whole_afterwards(
    container: Container, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    name = sent.name.lower()
    path = write_egms(tmp_path / f"{name}.csv", make(POINTS, 12, seed=100 + sent))
    finish(started(path, f"{name}-1", container, tmp_path))  # makes the station, so that it is there before the counting
    again = write_egms(tmp_path / f"{name}.csv", make(POINTS, 12, seed=200 + sent))
    before = relations(container)

    with ledger_held(container.database_url) as holder:
        process = started(again, f"{name}-2", container, tmp_path)
        try:
            until(WAITS_FOR_THE_LEDGER, container.database_url, process)
            process.send_signal(sent)
            if sent is signal.SIGINT:
                process.communicate(timeout=PATIENCE_S)
        finally:
            holder.rollback()
            process.kill()
            process.communicate()
    assert process.returncode == code
    until(NOBODY_LOADS, container.database_url)
    assert relations(container) == before
    assert container.insar.delivery(f"{name}-2") is None

    finish(started(again, f"{name}-2", container, tmp_path))
    found = container.insar.delivery(f"{name}-2")
    assert found is not None
    assert found.points == POINTS
    assert not list((tmp_path / "raw").glob(".growing-*"))
