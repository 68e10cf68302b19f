"""A link that can be cut: a TCP relay on loopback between a client and a server, as a field network would treat it.

This file finishes with `Link`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 16_384
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: what is on its way is thrown away and the peer is told by RST, as when a modem drops out."""


class Link:
    """Relays every connection to one port of loopback, until it is cut; then clients may connect anew.

    Parameters
    ----------
    port
        Tells where the server listens at present; it may be away for a while, and clients then find their connection closed.
    """

    def __init__(self, port: Callable[[], int]) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.relayed_bytes = 0
        self.cuts = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._back_at = 0.0
        threading.Thread(target=self._accept, daemon=True, name=f"link-{self.port}").start()

    def cut(self, away_s: float = 0.0) -> int:
        """Drop every connection, whatever is on its way in it, and refuse new ones for a while; return how many there were."""
        with self._lock:
            self._back_at = time.monotonic() + away_s
            dropped, self._open = self._open, set()
            self.cuts += 1
        for side in dropped:
            _drop(side)
        return len(dropped) // 2

    @property
    def is_used(self) -> bool:
        """Tell whether any connection goes through."""
        with self._lock:
            return bool(self._open)

    def close(self) -> None:
        """End the relay."""
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if time.monotonic() < self._back_at:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._server_port()), timeout=5.0)
            except OSError:
                _drop(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                sink.sendall(chunk)
                self.relayed_bytes += len(chunk)
        with self._lock:
            self._open -= {source, sink}
        _drop(source)
        _drop(sink)


def _drop(side: socket.socket) -> None:
    with suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it, which close alone does not
    side.close()
