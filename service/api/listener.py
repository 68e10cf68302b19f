"""The one thread that listens for the pages: woken by the database, it reads what changed and hands it to the hub.

A notification carries no data, so the thread asks the ledger what is new. It waits a little between two rounds, so that ten thousand
commits a second become two events a second. This file finishes with `Listening`.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from domain.errors import GroundWatchError
from service.api.stream import Change, Hub
from service.api.times import stamp
from storage.gauges import GaugeRepository, Touched

log = logging.getLogger(__name__)
CHANNEL = "groundwatch_work"
POLL_S = 1.0
PAUSE_S = 0.5
RETRY_S = 5.0
MOST_CODES = 500


class Listening:
    """A background thread from the database's notifications to the hub; `start` and `stop` belong to the application's life."""

    def __init__(self, container: Any, hub: Hub, gauges: GaugeRepository | None = None) -> None:
        self.container = container
        self.hub = hub
        self.gauges = gauges
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, name="page-listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and every open stream."""
        self._stop.set()
        self.hub.close()
        if self._thread.is_alive():
            self._thread.join(timeout=POLL_S + PAUSE_S + 2.0)

    def run(self) -> None:
        """Listen until stopped; a database that is away is tried again."""
        while not self._stop.is_set():
            try:
                self._listen()
            except GroundWatchError as error:
                log.warning("live pages hear nothing for now: %s", error)
                self._stop.wait(RETRY_S)

    def _listen(self) -> None:
        if self.gauges is None:
            self.gauges = GaugeRepository(self.container.db)
        seq = self.container.observations.current_seq()
        with self.container.db.listen(CHANNEL) as listener:
            while not self._stop.is_set():
                # The wait is also a poll: alerts and events are not announced on this channel.
                listener.wait(POLL_S)
                touched = self.gauges.touched_since(seq)
                if touched.seq != seq:
                    seq = touched.seq
                    self.tell(touched)
                    self._stop.wait(PAUSE_S)

    def tell(self, touched: Touched) -> None:
        """Publish what was touched: at most 500 datastreams by name, in the order of their ids."""
        at = stamp(self.container.clock()) or ""
        registers = self.container.registers
        named = []
        for datastream_id in touched.datastream_ids[:MOST_CODES]:
            datastream = registers.datastream_by_id(datastream_id)
            station = registers.station(datastream.station) if datastream is not None else None
            if datastream is not None and station is not None:
                named.append((datastream.code, station))
        if named:
            self.hub.publish(Change("observations", at, tuple(named)))
        if "alert" in touched.kinds:
            self.hub.publish(Change("alerts", at))
