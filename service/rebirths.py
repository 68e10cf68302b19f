"""What waited for the births of a Sparkplug B edge node is run again when they have come, beside the taking of messages.

This file finishes with `Rebirths`.
"""

from __future__ import annotations

import logging
import queue
import threading

from domain.errors import GroundWatchError, UnavailableError
from service.bootstrap import Container
from service.replaying import replay_edge

LOG = logging.getLogger("groundwatch.rebirths")
IDLE_S = 0.5
RETRY_S = 5.0


class Rebirths:
    """Runs what waits of each edge node that it is told of, one after the other."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._born: queue.SimpleQueue[str] = queue.SimpleQueue()

    def tell(self, edge: str) -> None:
        """Note that births of an edge node (`group/node`) are committed."""
        self._born.put(edge)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            try:
                edge = self._born.get(timeout=IDLE_S)
            except queue.Empty:
                continue
            self._replay(edge, stop)

    def _replay(self, edge: str, stop: threading.Event) -> None:
        try:
            report = replay_edge(self._container, edge)
        except UnavailableError as error:
            LOG.warning("what waits of %s is run again later: %s", edge, error)
            self._born.put(edge)
            stop.wait(RETRY_S)
            return
        except GroundWatchError:
            LOG.exception("what waits of %s could not be run again", edge)
            return
        if report.payloads:
            LOG.info("%s: births came; of %d messages that waited, %d go on waiting", edge, report.payloads, report.failed)
