"""The processes of `groundwatch up`: started together, restarted when they fall, ended together.

A part that ends unasked is started again after a growing pause, so that a crash of one part never stops the others; so are the
servers that the parts need. This file finishes with `Supervisor`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import GroundWatchError
from service.lifetime import PARENT_VARIABLE
from service.settings import executable

LOG = logging.getLogger("groundwatch.up")
PATIENCE_S = 15.0
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class Part:
    """One child process and how often it has fallen."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    falls: int = 0
    start_again_at: float = field(default=0.0)


class Supervisor:
    """Runs parts as children of this process until `stop` is set.

    Parameters
    ----------
    environ
        Environment of the children; addresses and secrets travel in it, never on command lines.
    revive
        Starts the servers that have fallen and returns their names.
    """

    def __init__(self, environ: Mapping[str, str], revive: Callable[[], Sequence[str]] = list) -> None:
        self._environ = {**environ, PARENT_VARIABLE: str(os.getpid())}
        self._parts: list[Part] = []
        self._revive = revive
        self._server_falls = 0
        self._revive_at = 0.0

    def start(self, name: str, *arguments: str) -> None:
        """Start one part."""
        part = Part(name, arguments)
        self._spawn(part)
        self._parts.append(part)

    def _spawn(self, part: Part) -> None:
        part.process = subprocess.Popen([*executable(), *part.arguments], env=self._environ, start_new_session=True)
        LOG.info("%s started as process %d", part.name, part.process.pid)

    def run(self, stop: threading.Event) -> None:
        """Watch the parts until `stop` is set, then end them."""
        try:
            while not stop.wait(0.5):
                self._watch_servers()
                for part in self._parts:
                    self._watch(part)
        finally:
            self.end()

    def _watch_servers(self) -> None:
        if time.monotonic() < self._revive_at:
            return
        try:
            revived = self._revive()
        except (GroundWatchError, OSError) as error:
            self._server_falls += 1
            pause = _pause_s(self._server_falls)
            LOG.error("a server has ended and does not start: %s; trying again in %.1f s", error, pause)
            self._revive_at = time.monotonic() + pause
            return
        if revived:
            self._server_falls += 1
            self._revive_at = time.monotonic() + _pause_s(self._server_falls)
            LOG.error("%s had ended unasked and was started again", " and ".join(revived))

    def _watch(self, part: Part) -> None:
        if part.process is None:
            if time.monotonic() >= part.start_again_at:
                self._spawn(part)
            return
        code = part.process.poll()
        if code is None:
            return
        part.falls += 1
        pause = _pause_s(part.falls)
        LOG.error("%s ended with code %s; starting it again in %.1f s", part.name, code, pause)
        part.process = None
        part.start_again_at = time.monotonic() + pause

    def end(self) -> None:
        """Ask every part to end, and insist after a while."""
        running = [part.process for part in self._parts if part.process is not None and part.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        for process in running:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for part in self._parts:
            part.process = None


def _pause_s(falls: int) -> float:
    return min(LONGEST_PAUSE_S, 0.5 * float(2 ** min(falls, 6)))
