"""The server of RTUs over loopback for tests, and what they see of it from the device's side."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from domain.observation import QuarantineEntry
from ingest.formats.sl651_frame import confirmation, read_frame
from ingest.pipeline import Pipeline
from ingest.transports.tcp import TcpIngest
from ingest.transports.tcp_peers import TcpSettings
from tests.ingest.memory import MemoryStore
from tests.ingest.rtu import SL651_WELL

NOW = datetime(2025, 6, 1, 1, tzinfo=UTC)
MORNING = datetime(2025, 6, 1, tzinfo=UTC)
LOOPBACK = "127.0.0.1"
WELL_ANSWER = confirmation(read_frame(SL651_WELL))
Serve = Callable[..., "Server"]


class Server:
    def __init__(self, pipeline: Pipeline, **limits: Any) -> None:
        listen = {"sl651": (LOOPBACK, 0), "hj212": (LOOPBACK, 0)}
        self.ingest = TcpIngest(TcpSettings(listen, **limits), pipeline, lambda: NOW)
        self.metrics = self.ingest.metrics
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.ingest.run, args=(self.stop_event,), daemon=True)
        self.thread.start()

    def connect(self, protocol: str = "sl651") -> socket.socket:
        connection = socket.create_connection(self.ingest.addresses[protocol], timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self) -> None:
        self.stop_event.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


def read(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def is_silent(connection: socket.socket, seconds: float = 0.3) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b"?"
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def results(store: MemoryStore) -> list[float]:
    return sorted(float.fromhex(str(row[0])) for row in store.rows.values())


def refusals(store: MemoryStore) -> list[tuple[str, str | None, str | None]]:
    entries = cast("list[QuarantineEntry]", store.quarantine)
    return [(entry.rejected.code, entry.station, entry.device) for entry in entries]
