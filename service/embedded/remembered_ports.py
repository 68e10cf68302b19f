"""The servers' ports: remembered from start to start, and never changed while clients know them. This file finishes with a started server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from domain.errors import ConfigurationError, UnavailableError
from service.embedded import ports
from service.embedded.postgres import PortTakenError
from service.embedded.processes import Server

START_ATTEMPTS = 5


class RememberedPorts:
    """Ports by server (`postgres`, `mqtt`).

    Parameters
    ----------
    file
        Where they are kept.
    log
        Is told of a port that was taken.
    """

    def __init__(self, file: Path, log: Callable[[str], None]) -> None:
        self._file = file
        self._log = log
        self._ports = {"postgres": ports.POSTGRES_PORT, "mqtt": ports.MQTT_PORT}
        self._told: set[str] = set()

    def __getitem__(self, name: str) -> int:
        return self._ports[name]

    def was_told(self, name: str) -> bool:
        """Tell whether clients were told a server's port since this process started it."""
        return name in self._told

    def forget_who_was_told(self) -> None:
        """The servers were stopped on purpose: the next start may choose other ports."""
        self._told.clear()

    def read(self) -> None:
        """Read what the last start chose."""
        if self._file.exists():
            self._ports.update(json.loads(self._file.read_text(encoding="ascii")))

    def _write(self) -> None:
        unfinished = self._file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self._ports), encoding="ascii")
        unfinished.replace(self._file)

    def start(self, name: str, start_on: Callable[[int], Server]) -> Server:
        """Start on the remembered port, or step around one that is taken and say so."""
        taken: set[int] = set()
        for _ in range(START_ATTEMPTS):
            port = self._told_port(name) or ports.choose(self._ports[name], frozenset(taken))
            if port != self._ports[name]:
                self._log(f"port {self._ports[name]} is taken; {name} listens on {port}")
            try:
                server = start_on(port)
            except PortTakenError:
                taken.add(port)
                continue
            self._ports[name] = port
            self._told.add(name)
            self._write()
            return server
        raise ConfigurationError(
            f"ports {sorted(taken)} were taken while the server started", where=ports.LOOPBACK, remedy="start again"
        )

    def _told_port(self, name: str) -> int | None:
        """Return the port that clients were told already, and no other while they live; None before the first start."""
        if name not in self._told:
            return None
        port = self._ports[name]
        if not ports.is_free(port):
            raise UnavailableError(
                f"port {port} of {name} was taken by another program while {name} was down",
                where=ports.LOOPBACK,
                remedy="end what listens there; it is tried again",
            )
        return port
