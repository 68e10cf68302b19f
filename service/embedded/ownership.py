"""Who owns the running stack of a home: one process at a time, with a keeper that shares its lock.

This file finishes with the lock taken, or with the id of the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from typing import IO

from domain.errors import UnavailableError
from service.embedded import keeper
from service.embedded.home import Layout
from service.embedded.processes import Server, start_time, wait_until

HANDOVER_S = 60.0


class Ownership:
    """The lock of one home, and the keeper of what its owner runs."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock: IO[str] | None = None
        self._keeper: subprocess.Popen[str] | None = None

    def take(self) -> bool:
        """Become the owner; False where another living process is. A keeper that still cleans up is waited for."""
        lock = self._layout.lock.open("a+", encoding="ascii")

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(lambda: taken() or self.owner_pid() is not None, keeper.PATIENCE_S + HANDOVER_S):
            lock.close()
            raise UnavailableError(
                "a keeper still stops the servers of an earlier run",
                where=str(self._layout.home),
                remedy="start again in a moment",
            )
        if not taken():
            lock.close()
            return False
        lock.truncate(0)
        lock.write(f"{os.getpid()} {start_time(os.getpid())}")
        lock.flush()
        self._lock = lock
        return True

    def owner_pid(self) -> int | None:
        """Return the process that owns the stack, None where it is gone or nobody does."""
        try:
            words = self._layout.lock.read_text(encoding="ascii").split()
        except OSError:
            return None
        if len(words) != 2:
            return None
        owner = Server.adopt(int(words[0]), int(words[1]))
        return owner.pid if owner else None

    def release(self) -> None:
        """Let another process become the owner."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def start_keeper(self) -> None:
        """Start the process that stops the servers however we end; it shares our lock until they are gone."""
        assert self._lock is not None
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # whoever reads our output must not wait for the keeper
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            pass_fds=(self._lock.fileno(),),
            cwd="/",
        )

    def tell_keeper(self, server: Server, number: int) -> None:
        """Register a server with the signal that stops it, or with 0 one that no longer matters."""
        if self._keeper is not None and self._keeper.stdin is not None:
            with suppress(BrokenPipeError):  # a keeper that somebody killed must not keep us from stopping
                self._keeper.stdin.write(f"{server.pid} {server.started} {int(number)}\n")
                self._keeper.stdin.flush()

    def stop_keeper(self) -> None:
        """End the keeper; servers that are still registered are stopped by it."""
        if self._keeper is not None and self._keeper.stdin is not None:
            with suppress(BrokenPipeError):
                self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper = None
