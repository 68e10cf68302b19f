"""Copies of one radio frame that arrive as several events, because its gateways reach the network server late or by several servers.

The copies differ in their time of receipt alone. Each is given the time of the first one, so that the store recognises it as the
observation that it has; no copy is dropped, and each has its receipt. This file finishes with `UplinkMemory`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

WINDOW_US = 600_000_000
"""Copies come within ten minutes; the same frame counter later is another frame, after a reset or a change of the battery."""
_CAPACITY = 50_000


class UplinkMemory:
    """Remembers when each of the latest frames was first seen; bounded, and safe to use from several threads."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._first: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._capacity = capacity
        self._lock = threading.Lock()

    def first_time_us(self, identity: tuple[str, ...], time_us: int) -> int | None:
        """Return the time of the copy that came first, or None for a frame that was not seen yet; it is remembered then."""
        with self._lock:
            first = self._first.get(identity)
            if first is not None and abs(time_us - first) <= WINDOW_US:
                return first
            self._first[identity] = time_us
            self._first.move_to_end(identity)
            while len(self._first) > self._capacity:
                self._first.popitem(last=False)
            return None
