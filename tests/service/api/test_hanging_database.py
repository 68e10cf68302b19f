"""A database that hangs: nobody who asks whether the node is ready waits for it, and who is told is told why."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from domain.errors import ConnectionLimitError, UnavailableError
from service.api import metrics, readiness
from service.api.app import create_app
from service.api.deadline import Deadline
from service.api.metrics import DatabaseCollector
from service.api.readiness import Readiness
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.waiting import wait_until

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Hanging:
    """A database that answers nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0
        self.refusal: UnavailableError | None = None

    def ping(self) -> None:
        self.asked += 1
        self.go.wait(30)
        raise UnavailableError("it is away.", where="database")

    def read(self, now: datetime) -> None:
        self.ping()

    def knock(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(readiness, "ANSWER_S", 0.3)
    monkeypatch.setattr(readiness, "KEEP_S", 0.0)
    monkeypatch.setattr(metrics, "ANSWER_S", 0.3)
    database = Hanging()
    yield database
    database.go.set()


def container_on(database: Hanging, home: Path) -> Any:
    settings = SimpleNamespace(home=home, minimum_free_bytes=1)
    return SimpleNamespace(db=database, settings=settings, clock=lambda: NOW, reach_broker=lambda _: None, database_url="")


def test_readiness_says_that_the_database_does_not_answer_instead_of_waiting_for_it(hanging: Hanging, tmp_path: Path) -> None:
    asked = Readiness(container_on(hanging, tmp_path), NOW)
    begun = time.monotonic()
    found = {check.name: check.reason for check in asked.checks()}
    again = {check.name: check.reason for check in asked.checks()}
    assert time.monotonic() - begun < 5
    assert "the database gives no answer" in found["database"]
    assert "Remedy" in again["database"]
    assert (found["broker"], found["disk"]) == ("", "")
    assert hanging.asked == 1
    hanging.go.set()
    wait_until(lambda: "it is away" in {c.name: c.reason for c in asked.checks()}["database"], 10, "what it says at last")


def test_a_scrape_says_that_the_database_does_not_answer(hanging: Hanging, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(container_on(hanging, tmp_path), hanging))  # type: ignore[arg-type]
    said = generate_latest(registry).decode()
    assert "groundwatch_database_up 0.0" in said
    assert 'groundwatch_database_fault{fault="no-answer"} 1.0' in said


def test_a_server_that_takes_no_connection_is_told_of_in_its_own_words_before_the_pool_gives_up(
    hanging: Hanging, tmp_path: Path
) -> None:
    hanging.refusal = ConnectionLimitError("too many clients already", remedy="end other clients")
    container = container_on(hanging, tmp_path)
    assert "too many clients" in {check.name: check.reason for check in Readiness(container, NOW).checks()}["database"]
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(container, hanging))  # type: ignore[arg-type]
    assert 'groundwatch_database_fault{fault="connection-limit"} 1.0' in generate_latest(registry).decode()


def test_probes_are_answered_while_every_thread_for_requests_waits(
    container: Any, monkeypatch: pytest.MonkeyPatch, hanging: Hanging
) -> None:
    monkeypatch.setattr(container.registers, "list_stations", lambda **_: hanging.ping())
    with (
        TestClient(create_app(container, listen=False), client=("127.0.0.1", 50000)) as client,
        ThreadPoolExecutor(60) as others,
    ):
        waiting = [others.submit(client.get, "/api/v1/stations", headers=bearer("supervisor")) for _ in range(60)]
        wait_until(lambda: hanging.asked >= 40, 20, "all threads wait")
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/metrics").status_code == 200
        assert not any(one.done() for one in waiting)
        hanging.go.set()


def test_an_answer_is_waited_for_once_and_a_failure_is_the_askers() -> None:
    go = threading.Event()
    asked = Deadline(lambda: go.wait(30), 0.2)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="no answer"):
            asked.answer()
    go.set()
    wait_until(lambda: _answered(asked), 10, "the answer")

    def fail() -> None:
        raise TimeoutError("of its own")

    for _ in range(2):
        with pytest.raises(TimeoutError, match="of its own"):
            Deadline(fail, 5).answer()


def _answered(asked: Deadline[bool]) -> bool:
    try:
        return asked.answer()
    except TimeoutError:
        return False
