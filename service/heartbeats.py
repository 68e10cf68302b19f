"""Signs of life: a thread that writes every five seconds how its process fares, and at once when that changes for the worse or better.

A database that is away stops neither the process nor this thread: the sign is given as soon as it is back. This file finishes with
`LoopsState`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from domain.errors import GroundWatchError
from ingest.transports.metrics import IngestMetrics, TcpMetrics
from storage.heartbeats import Process

LOG = logging.getLogger("groundwatch.heartbeat")
EVERY_S = 5.0
LOOK_S = 0.5
FAREWELL_S = 3.0
FAULT_COUNTS_S = 30.0

TCP_COUNTERS = (
    "connections",
    "connections_accepted",
    "connections_refused",
    "connections_idle",
    "messages_received",
    "messages_committed",
    "messages_quarantined",
    "frames_damaged",
    "bytes_skipped",
    "answers_sent",
    "queued",
)
"""What is told of the server of RTUs, each under its name with `tcp_` before it."""

Detail = Mapping[str, Any]


class Store(Protocol):
    """Where signs of life go; `storage.heartbeats.HeartbeatRepository`."""

    def beat(self, process: Process, detail: Detail) -> None:
        """Say that a process lives."""

    def withdraw(self, process: Process) -> None:
        """Take its row away."""


def this_process(name: str, started_at: datetime) -> Process:
    """Return this very process; the start makes the instance unique where every container's first process has the same id."""
    host, pid = socket.gethostname(), os.getpid()
    return Process(name, f"{host}:{pid}:{int(started_at.timestamp())}", pid, host)


class Heartbeat:
    """A background thread that tells how a process fares, from `start` to `stop`.

    Parameters
    ----------
    store
        Where to write.
    process
        Whose life it is.
    describe
        Returns the detail; it is called from the thread, twice a second. Its members named in `urgent` are told at once when they
        change.
    """

    def __init__(
        self,
        store: Store,
        process: Process,
        describe: Callable[[], Detail],
        *,
        urgent: tuple[str, ...] = (),
        every_s: float = EVERY_S,
    ) -> None:
        self.store, self.process, self.describe, self.urgent, self.every_s = store, process, describe, urgent, every_s
        self._stop = threading.Event()
        self._leave = True
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._told: tuple[float, list[Any]] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, in_order: bool = True) -> None:
        """End the thread; a process that ends in order takes its row away, one that failed leaves it to be missed."""
        self._leave = in_order
        self._stop.set()
        self._thread.join(FAREWELL_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._safely(self.look)
            self._stop.wait(LOOK_S)
        if self._leave:
            self._safely(lambda: self.store.withdraw(self.process))

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except GroundWatchError as error:
            LOG.warning("no sign of life could be given: %s", error)
        except Exception:
            LOG.exception("no sign of life could be given")

    def look(self) -> None:
        """Write when it is time, or when something urgent changed."""
        detail = self.describe()
        state = [detail.get(name) for name in self.urgent]
        now = time.monotonic()
        if self._told is not None and now - self._told[0] < self.every_s and self._told[1] == state:
            return
        self._told = (now, state)
        self.store.beat(self.process, detail)


class IngestState:
    """How ingest fares, out of the counters of its transports.

    Parameters
    ----------
    mqtt, inbox, tcp
        The counters, kept by the transports; `tcp` None where nobody listens for RTUs.
    """

    def __init__(self, mqtt: IngestMetrics, inbox: IngestMetrics, tcp: TcpMetrics | None = None) -> None:
        self.mqtt, self.inbox, self.tcp = mqtt, inbox, tcp
        self._seen = (0, 0)
        self._is_retrying = False

    def detail(self) -> dict[str, Any]:
        """Return counters and state; commits are being retried from the first failure until one succeeds."""
        transports = [self.mqtt] if self.tcp is None else [self.mqtt, self.tcp]
        retried = sum(transport.commits_retried for transport in transports)
        batches = sum(transport.batches for transport in transports)
        if batches > self._seen[1]:
            self._is_retrying = False
        elif retried > self._seen[0]:
            self._is_retrying = True
        self._seen = (retried, batches)
        faulty = next((transport for transport in transports if transport.commit_fault), self.mqtt)
        return {
            "connected": self.mqtt.is_connected,
            "connection_fault": self.mqtt.connection_fault,
            "retrying": self._is_retrying,
            "fault": faulty.commit_fault if self._is_retrying else "",
            "fault_reason": faulty.commit_fault_reason if self._is_retrying else "",
            "queued": self.mqtt.queued,
            "lag_s": self.mqtt.lag_s,
            "messages_received": self.mqtt.messages_received,
            "messages_committed": self.mqtt.messages_committed,
            "messages_quarantined": self.mqtt.messages_quarantined,
            "observations_sent": self.mqtt.observations_sent,
            "batches": batches,
            "commits_retried": retried,
            "reconnects": self.mqtt.reconnects,
            "files_imported": self.inbox.files_imported,
            "files_rejected": self.inbox.files_rejected,
            "files_unreadable": self.inbox.files_unreadable,
            **({} if self.tcp is None else {f"tcp_{name}": getattr(self.tcp, name) for name in TCP_COUNTERS}),
        }


class LoopsState:
    """How the loops of a worker fare; safe to write from each loop's thread.

    Parameters
    ----------
    monotonic
        Seconds that never run backwards: a fall counts for half a minute, and one that repeats itself is noted anew each time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.is_leading = False
        self._lock = threading.Lock()
        self._loops: set[str] = set()
        self._faults: dict[str, tuple[float, str]] = {}

    def running(self, name: str) -> None:
        """Note that a loop runs."""
        with self._lock:
            self._loops.add(name)

    def fell(self, name: str, reason: str) -> None:
        """Note that a loop fell, and why."""
        with self._lock:
            self._faults[name] = (self.monotonic(), reason[:500])

    def detail(self) -> dict[str, Any]:
        """Return the loops that run, those that fell within half a minute with the reason, and whether this worker leads."""
        with self._lock:
            now = self.monotonic()
            faults = {name: reason for name, (at, reason) in sorted(self._faults.items()) if now - at < FAULT_COUNTS_S}
            return {"leading": self.is_leading, "loops": sorted(self._loops), "faults": faults}
