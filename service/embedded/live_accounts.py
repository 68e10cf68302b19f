"""The broker's accounts as the running broker knows them: who was added may connect, and who was withdrawn may not, when a call returns.

Mosquitto reads its account files anew at SIGHUP, and forgets one that comes while it still reads for the one before: it takes the flag
down after it has read. So a signal alone proves nothing. What proves is the broker's answer to a login, and until it is as it should be the
signal is sent again. This file finishes with `LiveAccounts`.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from typing import Protocol

from domain.errors import UnavailableError
from service.embedded.accounts import AccountFiles, check_name
from service.embedded.mosquitto import ACCEPTED, NOT_AUTHORISED, log_in
from service.embedded.processes import wait_until

AGAIN_S = 0.2
"""After this time without an effect a signal is taken for forgotten: reading takes some milliseconds."""
PATIENCE_S = 20.0


class Broker(Protocol):
    """A broker's process."""

    def is_alive(self) -> bool:
        """Tell whether it still runs."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""


class LiveAccounts:
    """Adds and withdraws accounts.

    Parameters
    ----------
    files
        The account files.
    broker
        The running broker; None = it runs not, and reads the files when it starts.
    port
        Where it listens.
    answer
        The broker's answer to a login at a port (user, password).
    """

    def __init__(
        self, files: AccountFiles, broker: Broker | None, port: int, answer: Callable[[int, str, str], int] = log_in
    ) -> None:
        self._files = files
        self._broker = broker
        self._port = port
        self._answer = answer

    def add(self, name: str, password: str, stations: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> None:
        """Add a device or gateway, or give it a new password.

        Raises
        ------
        RequestError
            A name that is no station code, or an empty password.
        UnavailableError
            The broker runs and does not read its files; they are written.
        """
        self._files.add(name, password, stations, topics)
        self._make_read(name, password, ACCEPTED)

    def remove(self, name: str) -> bool:
        """Withdraw a device or gateway, connections included; return whether it was known. UnavailableError as `add`."""
        check_name(name)
        known = self._files.read().get(name)
        if known is None:
            return False
        # Its password is known to nobody here, so it gets another one first: that is accepted, and then it is not.
        last = secrets.token_urlsafe(24)
        if self._broker is not None:
            self.add(name, last, known.stations, known.topics)
        self._files.remove(name)
        self._make_read(name, last, NOT_AUTHORISED)
        return True

    def _make_read(self, name: str, password: str, wanted: int) -> None:
        """Signal until the broker answers a login as it should; a broker that ends reads the files when it starts."""
        until = time.monotonic() + PATIENCE_S
        while self._broker is not None and self._broker.is_alive():
            self._broker.send(signal.SIGHUP)
            if wait_until(lambda: self._answers(name, password, wanted), AGAIN_S):
                return
            if time.monotonic() >= until:
                raise UnavailableError(
                    f"the broker did not read its accounts within {PATIENCE_S:g} s; {name} is written but not in force",
                    where=f"port {self._port}",
                    remedy="read the broker's log; it reads the accounts when it starts again",
                )

    def _answers(self, name: str, password: str, wanted: int) -> bool:
        try:
            return self._answer(self._port, name, password) == wanted
        except UnavailableError:
            return False
