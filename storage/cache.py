"""A small cache with a time to live, so that the hot path asks the database for a register entry once in seconds, not once a message.

What is absent is remembered for a shorter time, because somebody may be about to create it. This file finishes with `Cache`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MOST_ENTRIES = 200_000


Entry = tuple[float, Any, float]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What was found unchanged: values of these kinds, until then, and none that is older than so many seconds."""

    kinds: Container[str]
    until: float
    longest_s: float

    def covers(self, key: Hashable, entry: Entry, now: float) -> bool:
        _, value, read = entry
        is_fresh = now < self.until and now - read < self.longest_s
        return is_fresh and value is not None and isinstance(key, tuple) and key[0] in self.kinds


class Cache:
    """Values by key, each forgotten after its time to live.

    Parameters
    ----------
    clock
        Monotonic seconds.
    ttl_s, absent_ttl_s
        How long a value, or the knowledge that there is none, is kept.
    """

    def __init__(self, clock: Callable[[], float], ttl_s: float = 5.0, absent_ttl_s: float = 1.0) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._absent_ttl_s = absent_ttl_s
        self._lock = threading.Lock()
        self._entries: dict[Hashable, Entry] = {}
        """By key: until when it is kept, the value, and when it was read."""
        self._standing = _Standing(frozenset(), 0.0, 0.0)
        self._generation = 0

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return the value of `key`, loading it when it is not there or too old."""
        now = self._clock()
        with self._lock:
            entry = self._entries.get(key)
            generation, standing = self._generation, self._standing
        if entry is not None and (now < entry[0] or standing.covers(key, entry, now)):
            value: T = entry[1]
            return value
        value = load()
        with self._lock:
            # What was read before somebody cleared the cache may be older than the change that cleared it.
            if generation == self._generation:
                if len(self._entries) >= MOST_ENTRIES:
                    self._entries.clear()
                self._entries[key] = (now + (self._absent_ttl_s if value is None else self._ttl_s), value, now)
        return value

    def missing(self, keys: Iterable[Hashable], within_s: float = 0.0) -> list[Hashable]:
        """Return the keys that would have to be loaded `within_s` seconds from now."""
        now = self._clock() + within_s
        with self._lock:
            standing = self._standing
            return [
                key
                for key in keys
                if (entry := self._entries.get(key)) is None or not (now < entry[0] or standing.covers(key, entry, now))
            ]

    @property
    def generation(self) -> int:
        """A number that changes when the cache is cleared: read it before what `put` is to keep."""
        with self._lock:
            return self._generation

    def put(self, values: Mapping[Hashable, Any], generation: int) -> None:
        """Keep values that were read together, unless the cache was cleared meanwhile."""
        now = self._clock()
        until = now + self._ttl_s
        with self._lock:
            if generation == self._generation:
                self._entries.update({key: (until, value, now) for key, value in values.items()})

    def renew(self, kinds: Container[str], longest_s: float) -> None:
        """Keep values whose keys begin with one of `kinds` for a time to live from now on, but none longer than `longest_s` in all.

        For whoever knows that nothing has changed since they were read; absence is not renewed. The cost is the same for any number.
        """
        with self._lock:
            self._standing = _Standing(kinds, self._clock() + self._ttl_s, longest_s)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._generation += 1
