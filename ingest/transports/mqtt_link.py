"""The link to the broker: paho's client, driven by a loop of our own through the calls that paho offers for one.

Paho reads a packet in three calls of the system and wakes its own thread once for each acknowledgement, which costs more than all
that is done with a message of one value. Here a socket that reads ahead and sends together stands under the client, and one thread
alone touches it: others `post` what is to be done there. A lost connection is made again, with the session that the broker kept.
This file finishes with `Link`.
"""

from __future__ import annotations

import os
import select
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

from ingest.transports.mqtt_tls import connected

READ_AT_ONCE = 64 * 1024
_TURN_S = 1.0
"""Longest time between two looks at the keep-alive."""
_PAUSED_TURN_S = 0.02
_FIRST_DELAY_S, _LAST_DELAY_S = 1.0, 10.0
_FAREWELL_S = 1.0
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A socket that reads ahead, and sends together what was given to it until `flush`.

    It is what paho takes for a socket (`paho.mqtt.client.SocketLike`, with the `pending` of TLS).
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._ahead, self._at = b"", 0
        self._unsent = bytearray()
        self._reading_waits_for, self._sending_waits_for = select.POLLIN, select.POLLOUT
        self.fault: OSError | None = None

    def recv(self, buffer_size: int) -> bytes:
        """Return up to so many bytes; empty at the end of the connection.

        Raises
        ------
        BlockingIOError
            There is nothing yet.
        """
        if self._at == len(self._ahead):
            self._ahead, self._at = self._receive(), 0
        start = self._at
        self._at = min(start + buffer_size, len(self._ahead))
        return self._ahead[start : self._at]

    def _receive(self) -> bytes:
        try:
            read = bytes(self._socket.recv(READ_AT_ONCE))
        except _NOT_NOW as wait:
            # Under TLS the protocol itself may have to write (a new key) before anything can be read, and the other way round.
            self._reading_waits_for = select.POLLOUT if isinstance(wait, ssl.SSLWantWriteError) else select.POLLIN
            raise
        except OSError as fault:
            self.fault = fault  # paho tells that the connection is lost, but not why
            raise
        self._reading_waits_for = select.POLLIN
        return read

    def events(self, *, may_read: bool, is_clogged: bool) -> int:
        """Return what to wait for (of `select.poll`) before reading and sending can go on."""
        return (self._reading_waits_for if may_read else 0) | (self._sending_waits_for if is_clogged else 0)

    def pending(self) -> int:
        """Return how many bytes can be received without asking the system."""
        below = self._socket.pending() if hasattr(self._socket, "pending") else 0
        return len(self._ahead) - self._at + int(below)

    def send(self, buffer: bytes | bytearray) -> int:
        """Take bytes to be sent by the next `flush`."""
        self._unsent += buffer
        return len(buffer)

    def flush(self) -> bool:
        """Send what was given; return whether nothing is left of it. A broken connection is found by the next `recv`."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except _NOT_NOW as wait:
            self._sending_waits_for = select.POLLIN if isinstance(wait, ssl.SSLWantReadError) else select.POLLOUT
            return False
        except OSError:
            self._unsent.clear()
        return True

    def close(self) -> None:
        """Send what can be sent at once, and close."""
        self.flush()
        self._socket.close()

    def fileno(self) -> int:
        """Return the number under which the system knows the socket."""
        return int(self._socket.fileno())

    def setblocking(self, flag: bool) -> None:
        """Let calls wait, or not."""
        self._socket.setblocking(flag)


class WiredClient(paho.Client):
    """A client of paho whose socket is a `Wire`.

    `_create_socket` is the one name of paho used here that it does not publish; without it no test of the link passes.
    """

    tls: ssl.SSLContext | None = None
    """What connections are secured with; None = they are not."""

    def _create_socket(self) -> Any:
        # Paho would leave a socket open whose handshake failed.
        return Wire(connected(self.host, self.port, self.tls, self.connect_timeout))

    @property
    def wire(self) -> Wire | None:
        """The wire while there is a connection."""
        socket = self.socket()
        return socket if isinstance(socket, Wire) else None


class Link:
    """Runs a client in a thread of its own until `stop`.

    Parameters
    ----------
    client
        Made ready by `connect_async`, with its callbacks; all of them are called in the link's thread.
    arrived
        Called after messages may have been delivered, so that they are handed on together.
    may_read
        Returns False while nobody can take more messages: then nothing is read, and the broker keeps the rest.
    failed
        Called with what kept a connection from being made, or broke it.
    """

    def __init__(
        self,
        client: WiredClient,
        arrived: Callable[[], None],
        may_read: Callable[[], bool],
        failed: Callable[[OSError], None],
    ) -> None:
        self.client = client
        self.failure: BaseException | None = None
        self._arrived, self._may_read, self._failed = arrived, may_read, failed
        self._posted: deque[Callable[[], None]] = deque()
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._stopping = threading.Event()
        self._delay_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)
        # With somebody to tell, paho leaves writing to the loop instead of writing at once, packet by packet.
        client.on_socket_register_write = lambda *_: None

    def start(self) -> None:
        """Connect, and connect again, as long as it takes."""
        self._thread.start()

    def post(self, act: Callable[[], None]) -> None:
        """Let the link's thread do something with the client soon, in the order of posting."""
        self._posted.append(act)
        self._wake()

    def stop(self) -> None:
        """Do what was posted, say goodbye and wait for the end."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        os.close(self._woken)
        os.close(self._waker)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is full, so the thread will wake
            os.write(self._waker, b"\0")

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self._leave()
        except BaseException as failure:
            self.failure = failure

    def _turn(self) -> None:
        self._do_posted()
        wire = self.client.wire
        if wire is None:
            self._connect()
            return
        is_clogged = self._write()
        if self.client.wire is not wire:
            return  # it broke
        may_read = self._may_read()
        if self._wait(wire, _TURN_S if may_read else _PAUSED_TURN_S, may_read=may_read, is_clogged=is_clogged):
            self._read(wire)
        self.client.loop_misc()
        if self.client.is_connected():
            self._delay_s = _FIRST_DELAY_S

    def _do_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _connect(self) -> None:
        """Try once; after a failure or a loss wait first, each time longer."""
        if self._stopping.wait(self._delay_s):
            return
        self._delay_s = min(max(self._delay_s * 2, _FIRST_DELAY_S), _LAST_DELAY_S)
        try:
            self.client.reconnect()
        except OSError as fault:
            self._failed(fault)

    def _write(self) -> bool:
        """Send what there is; return whether something is left that the system does not take yet."""
        if self.client.want_write():
            self.client.loop_write()
        wire = self.client.wire
        return wire is not None and not wire.flush()

    def _wait(self, wire: Wire, timeout_s: float, *, may_read: bool, is_clogged: bool) -> bool:
        """Wait until something can be done; return whether there is something to read."""
        if may_read and wire.pending():
            return True
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        wanted = wire.events(may_read=may_read, is_clogged=is_clogged)
        if wanted:
            poll.register(wire.fileno(), wanted)
        ready = dict(poll.poll(timeout_s * 1000))
        if self._woken in ready:
            os.read(self._woken, READ_AT_ONCE)
        readable = wire.events(may_read=may_read, is_clogged=False) | ~select.POLLOUT  # a broken connection is to be read, too
        return may_read and bool(ready.get(wire.fileno(), 0) & readable)

    def _read(self, wire: Wire) -> None:
        """Let paho take all packets that were read ahead, then hand on what they brought."""
        while self.client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS and wire.pending():
            pass
        self._arrived()
        if wire.fault is not None:
            self._failed(wire.fault)

    def _leave(self) -> None:
        self._do_posted()
        deadline = time.monotonic() + _FAREWELL_S
        while self._write() and (wire := self.client.wire) is not None and time.monotonic() < deadline:
            self._wait(wire, _PAUSED_TURN_S, may_read=False, is_clogged=True)
        self.client.disconnect()
        self._write()
