"""Ports on loopback: the remembered one while it is free, else the next free one. This file finishes with a free port."""

from __future__ import annotations

import socket
from contextlib import closing

from domain.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
POSTGRES_PORT = 15432  # below the range that Linux gives to outgoing connections
MQTT_PORT = 18830
PORTS_TRIED = 200


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of loopback now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do: a connection that lingers in TIME_WAIT does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(preferred: int, excluded: frozenset[int] = frozenset()) -> int:
    """Return `preferred` where it is free, else the next free port above it.

    Raises
    ------
    ConfigurationError
        None of the next ports is free.
    """
    for port in range(preferred, min(preferred + PORTS_TRIED, 65536)):
        if port not in excluded and is_free(port):
            return port
    raise ConfigurationError(
        f"no port between {preferred} and {preferred + PORTS_TRIED} is free",
        where=LOOPBACK,
        remedy="stop what listens there, or set GROUNDWATCH_DATABASE_URL and GROUNDWATCH_MQTT_URL",
    )
