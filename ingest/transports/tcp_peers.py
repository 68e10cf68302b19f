"""What a server of RTUs allows, and what it knows of one peer. This file finishes with `listening_socket`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.errors import ConfigurationError
from ingest.transports.rtu_sessions import PROTOCOLS, RtuProtocol, Session

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Why the system accepts no connection for now."""
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Where to listen and how much to take.

    Attributes
    ----------
    listen
        Host and port by protocol (`sl651`, `hj212`); port 0 takes a free one.
    max_connections, max_connections_per_address
        More are closed at once; many RTUs may stand behind one address of their mobile network.
    idle_s
        A connection that sends nothing for so long is closed, and so is one whose frame takes longer to arrive.
    linger_s
        One that its device has closed for sending is kept so long for the answers it still waits for.
    first_frame_s
        So is one that has sent no sound frame so long after it was made.
    frames_per_minute
        Frames of one address; beyond it the address is read more slowly.
    max_damaged, max_noise_bytes
        A connection with more damaged frames, or more bytes between frames, is closed.
    max_unanswered
        Frames of one connection that wait for their commit; beyond it the connection is not read.
    max_waiting
        Frames of all connections that wait; beyond it none is read.
    max_batch, max_wait_s
        A commit takes at most this many messages, or what arrives within this time of the first one.
    """

    listen: Mapping[str, tuple[str, int]]
    max_connections: int = 1000
    max_connections_per_address: int = 200
    idle_s: float = 900.0
    linger_s: float = 10.0
    first_frame_s: float = 120.0
    frames_per_minute: float = 600.0
    max_damaged: int = 20
    max_noise_bytes: int = 65_536
    max_unanswered: int = 16
    max_waiting: int = 20_000
    max_batch: int = 1000
    max_wait_s: float = 0.05


@dataclass(slots=True)
class Allowance:
    """Frames that an address may still send now; it fills again with time."""

    per_s: float
    most: float
    left: float
    at_s: float

    def pause_s(self, now_s: float) -> float:
        """Return how long to wait until there is room for another frame."""
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        return 0.0 if self.left > 0 else -self.left / self.per_s + 1.0 / self.per_s


@dataclass(slots=True, eq=False)
class Connection:
    """One peer."""

    socket: socket.socket
    peer: str
    name: str
    protocol: RtuProtocol
    session: Session
    opened_s: float
    heard_s: float
    received: bytes = b""
    outgoing: bytearray = field(default_factory=bytearray)
    unanswered: int = 0
    damaged: int = 0
    noise: int = 0
    paused_until_s: float = 0.0
    has_sent_a_frame: bool = False
    ended_s: float | None = None
    is_closed: bool = False


def listening_socket(name: str, address: tuple[str, int]) -> socket.socket:
    """Return a socket that listens for a protocol.

    Raises
    ------
    ConfigurationError
        There is no such protocol, or the address cannot be listened on.
    """
    if name not in PROTOCOLS:
        raise ConfigurationError(f"{name!r} is no protocol of RTUs.", remedy=f"use one of {', '.join(PROTOCOLS)}")
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as fault:
        raise ConfigurationError(
            f"{address[0]}:{address[1]} cannot be listened on: {fault.strerror or fault}.",
            where=f"GROUNDWATCH_{name.upper()}_LISTEN",
            remedy="end what uses it, or choose another port",
        ) from fault
    listener.setblocking(False)
    return listener
