"""Counters of a transport, read by whoever publishes metrics. This file holds no names of any metrics library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestMetrics:
    """What a transport has seen since it started; safe to read from any thread.

    `messages_received` counts deliveries, redelivered ones too; `files_unreadable` are those that are tried again; `lag_s` is the age of
    the oldest message of the last commit, from its receipt to its acknowledgement; `commit_fault` is the code of the newest failure,
    `commit_fault_reason` its text; `connection_fault` says why there is no connection; `observer` is called after every change.
    """

    messages_received: int = 0
    messages_committed: int = 0
    messages_quarantined: int = 0
    observations_sent: int = 0
    batches: int = 0
    commits_retried: int = 0
    reconnects: int = 0
    files_imported: int = 0
    files_rejected: int = 0
    files_unreadable: int = 0
    queued: int = 0
    lag_s: float = 0.0
    is_connected: bool = False
    connection_fault: str = ""
    commit_fault: str = ""
    commit_fault_reason: str = ""
    observer: Callable[[IngestMetrics], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **steps: int) -> None:
        """Add to counters."""
        with self._lock:
            for name, step in steps.items():
                setattr(self, name, getattr(self, name) + step)
        self._tell()

    def put(self, **values: float | bool | str) -> None:
        """Set gauges."""
        with self._lock:
            for name, value in values.items():
                setattr(self, name, value)
        self._tell()

    def failed(self, code: str, reason: str) -> None:
        """Count a commit that failed and will be tried again, and say why."""
        self.put(commit_fault=code, commit_fault_reason=reason[:500])
        self.add(commits_retried=1)

    def _tell(self) -> None:
        if self.observer is not None:
            self.observer(self)


@dataclass(slots=True)
class TcpMetrics(IngestMetrics):
    """What a server of RTUs has seen beside; `connections` are those that are open now."""

    connections: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    connections_idle: int = 0
    frames_damaged: int = 0
    bytes_skipped: int = 0
    answers_sent: int = 0
