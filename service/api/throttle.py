"""A throttle for logins: failures of a name and of an address count for some minutes. Time is an argument.

This file finishes with `LoginThrottle`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from datetime import datetime, timedelta

from service.api.problems import TooManyRequestsError


class LoginThrottle:
    """Refuses further attempts after too many failures; thread-safe and bounded in memory.

    Parameters
    ----------
    per_name, per_address
        Failures within the window after which a name or an address has to wait.
    window
        How long a failure counts.
    """

    def __init__(self, *, per_name: int = 5, per_address: int = 20, window: timedelta = timedelta(minutes=5)) -> None:
        self.limits = {"name": per_name, "address": per_address}
        self.window = window
        self._failures: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def attempt(self, name: str, address: str, now: datetime) -> None:
        """Count an attempt as failed until it has succeeded, so that attempts made at the same time count as well.

        Raises
        ------
        TooManyRequestsError
            While the name or the address has to wait; such an attempt is not counted.
        """
        keys = (("name", name.lower()), ("address", address))
        with self._lock:
            for key in keys:
                recent = self._recent(key, now)
                if len(recent) >= self.limits[key[0]]:
                    wait = recent[0] + self.window - now
                    raise TooManyRequestsError("too many failed logins.", retry_after_s=max(1, int(wait.total_seconds()) + 1))
            for key in keys:
                self._failures.setdefault(key, deque()).append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > 10_000:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name; those of the address stay, but for the attempt that succeeded."""
        with self._lock:
            self._failures.pop(("name", name.lower()), None)
            of_address = self._failures.get(("address", address))
            if of_address:
                of_address.pop()

    def _recent(self, key: tuple[str, str], now: datetime) -> deque[datetime]:
        times = self._failures.get(key)
        if times is None:
            return deque()
        while times and times[0] + self.window <= now:
            times.popleft()
        if not times:
            del self._failures[key]
            return deque()
        return times
