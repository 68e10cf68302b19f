"""Signs of life: told in time, told at once when something changes, and never in the way of the process itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from domain.errors import UnavailableError
from ingest.transports.metrics import IngestMetrics
from service.heartbeats import FAULT_COUNTS_S, Heartbeat, IngestState, LoopsState, this_process
from storage.heartbeats import Process
from tests.waiting import wait_until

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Book:
    """Remembers what it is told."""

    away: bool = False
    beats: list[Any] = field(default_factory=list)
    withdrawn: list[Process] = field(default_factory=list)

    def beat(self, process: Process, detail: Any) -> None:
        if self.away:
            raise UnavailableError("no server in this test.")
        self.beats.append(dict(detail))

    def withdraw(self, process: Process) -> None:
        self.withdrawn.append(process)


def test_a_sign_is_given_when_it_is_time_and_at_once_when_something_urgent_changes() -> None:
    book, state = Book(), {"connected": False, "queued": 0}
    heartbeat = Heartbeat(book, this_process("ingest", START), lambda: state, urgent=("connected",), every_s=3600.0)
    heartbeat.look()
    state["queued"] = 5
    heartbeat.look()
    assert book.beats == [{"connected": False, "queued": 0}]
    state["connected"] = True
    heartbeat.look()
    assert book.beats[1:] == [{"connected": True, "queued": 5}]
    heartbeat.every_s = 0.0
    heartbeat.look()
    assert len(book.beats) == 3


def test_a_database_that_is_away_ends_nothing_and_the_sign_is_given_when_it_is_back() -> None:
    book = Book(away=True)
    heartbeat = Heartbeat(book, this_process("worker", START), dict, every_s=0.0)
    heartbeat.start()
    book.away = False
    wait_until(lambda: bool(book.beats), 5, "the first sign of life")
    heartbeat.stop()
    assert [process.name for process in book.withdrawn] == ["worker"]


def test_a_process_that_failed_leaves_its_row_to_be_missed() -> None:
    book = Book()
    heartbeat = Heartbeat(book, this_process("ingest", START), dict)
    heartbeat.start()
    heartbeat.stop(in_order=False)
    assert book.withdrawn == []
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat" and thread.is_alive()]


def test_commits_are_being_retried_from_the_first_failure_until_one_succeeds() -> None:
    mqtt = IngestMetrics()
    state = IngestState(mqtt, IngestMetrics(files_imported=2))
    assert state.detail()["retrying"] is False
    mqtt.add(commits_retried=1)
    assert state.detail()["retrying"] is True
    assert state.detail()["retrying"] is True
    mqtt.add(batches=1)
    assert state.detail()["retrying"] is False
    mqtt.add(commits_retried=3, batches=1)
    assert state.detail()["retrying"] is False
    assert state.detail()["files_imported"] == 2


def test_a_loops_fall_counts_for_half_a_minute() -> None:
    now = 100.0
    state = LoopsState(lambda: now)
    state.running("evaluate")
    state.fell("evaluate", "no server")
    assert state.detail() == {"leading": False, "loops": ["evaluate"], "faults": {"evaluate": "no server"}}
    now += FAULT_COUNTS_S
    assert state.detail()["faults"] == {}
