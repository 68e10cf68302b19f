"""TCP: RTUs that connect, send frames and wait for the confirmation, which they get after the commit.

One thread serves all connections, another commits what they sent, together. While the database is out of reach nothing is confirmed:
the devices keep their frames and send them again, and the pipeline recognises what it has. A peer that sends too much is read more
slowly, not cut off; one that sends nothing sound is. This file finishes with `TcpIngest`.
"""

from __future__ import annotations

import logging
import queue
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from domain.errors import ConfigurationError, GroundWatchError, UnavailableError
from ingest.formats.frames import Piece, cut
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.report import MessageReceipt
from ingest.transports.metrics import TcpMetrics
from ingest.transports.rtu_sessions import PROTOCOLS, Delivery
from ingest.transports.tcp_peers import NO_ROOM, Allowance, Connection, TcpSettings, listening_socket

LOG = logging.getLogger(__name__)
_POLL_S = 0.2
_RECEIVE_BYTES = 16_384
_DEAF_S = 1.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.2, 5.0
UNANSWERED = frozenset({"rejected_device", "password"})
"""Codes of refusal after which a device is not confirmed: it is not ours, or somebody pretends to be it."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    connection: Connection
    message: Message
    answer: bytes | None
    received_s: float


class TcpIngest:
    """Listens for RTUs and commits what they send.

    Parameters
    ----------
    settings
        Addresses and limits.
    pipeline
        Where messages go.
    clock
        Returns the present time (aware).
    metrics
        Counters to keep; made when not given.

    Raises
    ------
    ConfigurationError
        An address cannot be listened on.
    """

    def __init__(
        self, settings: TcpSettings, pipeline: Pipeline, clock: Callable[[], datetime], metrics: TcpMetrics | None = None
    ) -> None:
        self.settings, self.pipeline, self.clock = settings, pipeline, clock
        self.metrics = metrics or TcpMetrics()
        self._selector = selectors.DefaultSelector()
        self._waiting: queue.Queue[_Waiting] = queue.Queue()
        self._done: deque[tuple[Connection, bytes | None, bool]] = deque()
        self._connections: set[Connection] = set()
        self._allowances: dict[str, Allowance] = {}
        self._failure: BaseException | None = None
        self._deaf_until_s = 0.0
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, None)
        self.addresses: dict[str, tuple[str, int]] = {}
        self._listeners: list[socket.socket] = []
        try:
            for name, address in settings.listen.items():
                self._listen(name, address)
        except ConfigurationError:
            self._close_all()
            raise

    def _listen(self, name: str, address: tuple[str, int]) -> None:
        listener = listening_socket(name, address)
        self._selector.register(listener, selectors.EVENT_READ, name)
        self._listeners.append(listener)
        self.addresses[name] = listener.getsockname()[:2]

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, or until commits fail for good; what is not committed then is not confirmed, and comes again."""
        committer = threading.Thread(target=self._commit_until, args=(stop,), name="tcp commits", daemon=True)
        committer.start()
        LOG.info("listening for RTUs: %s", ", ".join(f"{name} on {host}:{port}" for name, (host, port) in self.addresses.items()))
        try:
            while not stop.is_set() and self._failure is None:
                self._serve_once()
        finally:
            committer.join(_LAST_RETRY_S)
            self._answer_all()
            self._close_all()
        if self._failure is not None:
            raise self._failure

    def _serve_once(self) -> None:
        for key, events in self._selector.select(_POLL_S):
            if key.data is None:
                self._drain_wakes()
            elif isinstance(key.data, str):
                if not self._deaf_until_s:
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
            else:
                self._serve(key.data, events)
        self._answer_all()
        now_s = time.monotonic()
        self._hear_again(now_s)
        for connection in list(self._connections):
            self._look_after(connection, now_s)
        self.metrics.put(queued=self._waiting.qsize(), connections=len(self._connections))

    # -- connections ------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket, name: str) -> None:
        try:
            peer_socket, address = listener.accept()
        except OSError as fault:
            if fault.errno in NO_ROOM:
                self._be_deaf(fault)
            return
        peer = str(address[0])
        counts = Counter(connection.peer for connection in self._connections)
        if len(self._connections) >= self.settings.max_connections or counts[peer] >= self.settings.max_connections_per_address:
            peer_socket.close()
            self.metrics.add(connections_refused=1)
            LOG.warning("a connection from %s is refused: too many are open", peer)
            return
        peer_socket.setblocking(False)
        peer_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        now_s = time.monotonic()
        protocol = PROTOCOLS[name]
        connection = Connection(peer_socket, peer, name, protocol, protocol.session(), now_s, now_s)
        self._connections.add(connection)
        self._selector.register(peer_socket, selectors.EVENT_READ, connection)
        self.metrics.add(connections_accepted=1)

    def _be_deaf(self, fault: OSError) -> None:
        """Accept nobody for a while: who waits at the door stays readable, and would be asked in again and again for nothing."""
        LOG.warning("no connection can be accepted (%s); trying again in %g s", fault, _DEAF_S)
        self._deaf_until_s = time.monotonic() + _DEAF_S
        for listener in self._listeners:
            self._selector.unregister(listener)

    def _hear_again(self, now_s: float) -> None:
        if 0 < self._deaf_until_s <= now_s:
            self._deaf_until_s = 0.0
            for name, listener in zip(self.settings.listen, self._listeners, strict=True):
                self._selector.register(listener, selectors.EVENT_READ, name)

    def _serve(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(connection)
        if events & selectors.EVENT_READ and not connection.is_closed:
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            arrived = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if not arrived:
            self._end(connection)
            return
        so_far = connection.received + arrived
        self._take(connection, so_far, is_final=False)
        if connection.received != so_far or so_far == arrived:
            connection.heard_s = time.monotonic()  # else a frame only goes on arriving, and that may not take for ever
        if connection.damaged > self.settings.max_damaged or connection.noise > self.settings.max_noise_bytes:
            LOG.warning("the connection of %s sends no sound frames and is closed", connection.peer)
            self._close(connection)

    def _end(self, connection: Connection) -> None:
        """Close what its device closed, unless it waits for answers: it may have closed for sending alone."""
        if connection.unanswered:
            connection.ended_s = time.monotonic()
        else:
            self._close(connection)

    def _take(self, connection: Connection, received: bytes, *, is_final: bool) -> None:
        rest = b""
        for kind, piece in cut(received, connection.protocol.framing, is_final=is_final):
            if kind is Piece.FRAME:
                connection.has_sent_a_frame = True
                connection.noise = 0
                self._spend(connection)
                for delivery in connection.session.take(piece):
                    self._enqueue(connection, delivery)
            elif kind is Piece.DAMAGED:
                connection.damaged += 1
                self.metrics.add(frames_damaged=1)
                self._spend(connection)
                self._enqueue(connection, Delivery(piece))
            elif kind is Piece.NOISE:
                connection.noise += len(piece)
                self.metrics.add(bytes_skipped=len(piece))
            else:
                rest = piece
        connection.received = rest

    def _spend(self, connection: Connection) -> None:
        """Count one frame of an address, and read it later where it has sent too many."""
        now_s, per_s = time.monotonic(), self.settings.frames_per_minute / 60
        allowance = self._allowances.setdefault(
            connection.peer, Allowance(per_s, self.settings.frames_per_minute, self.settings.frames_per_minute, now_s)
        )
        allowance.left -= 1
        pause_s = allowance.pause_s(now_s)
        if pause_s > 0:
            connection.paused_until_s = max(connection.paused_until_s, now_s + pause_s)

    def _enqueue(self, connection: Connection, delivery: Delivery) -> None:
        self.metrics.add(messages_received=1)
        connection.unanswered += 1
        source = f"tcp://{connection.peer}/{connection.name}"
        message = Message("", delivery.payload, self.clock(), source, format=connection.name)
        self._waiting.put(_Waiting(connection, message, delivery.answer, time.monotonic()))

    def _look_after(self, connection: Connection, now_s: float) -> None:
        """Close what is idle, and read again what was paused."""
        settings = self.settings
        is_late = not connection.has_sent_a_frame and now_s - connection.opened_s > settings.first_frame_s
        if is_late or (now_s - connection.heard_s > settings.idle_s and not connection.unanswered):
            self.metrics.add(connections_idle=1)
            self._close(connection)
            return
        is_answered = not (connection.unanswered or connection.outgoing)
        if connection.ended_s is not None and (is_answered or now_s - connection.ended_s > settings.linger_s):
            self._close(connection)
            return
        has_room = connection.unanswered < settings.max_unanswered and self._waiting.qsize() < settings.max_waiting
        may_read = has_room and now_s >= connection.paused_until_s and connection.ended_s is None
        wanted = (selectors.EVENT_READ if may_read else 0) | (selectors.EVENT_WRITE if connection.outgoing else 0)
        self._want(connection, wanted)

    def _want(self, connection: Connection, events: int) -> None:
        registered = self._selector.get_map().get(connection.socket)
        if registered is None and events:
            self._selector.register(connection.socket, events, connection)
        elif registered is not None and not events:
            self._selector.unregister(connection.socket)
        elif registered is not None and registered.events != events:
            self._selector.modify(connection.socket, events, connection)

    def _send(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        del connection.outgoing[:sent]

    def _close(self, connection: Connection) -> None:
        """Close a connection; what it left incomplete is kept as damaged."""
        if connection.is_closed:
            return
        connection.is_closed = True
        self._connections.discard(connection)
        self._take(connection, connection.received, is_final=True)
        for delivery in connection.session.end():
            self._enqueue(connection, delivery)
        self._want(connection, 0)
        connection.socket.close()
        if not any(other.peer == connection.peer for other in self._connections):
            self._forget_allowance(connection.peer)

    def _forget_allowance(self, peer: str) -> None:
        """Forget an address that has room again; one that has not keeps its debt when it connects anew."""
        allowance = self._allowances.get(peer)
        if allowance is not None and (allowance.pause_s(time.monotonic()) == 0 or len(self._allowances) > 10_000):
            del self._allowances[peer]

    def _close_all(self) -> None:
        for connection in list(self._connections):
            connection.is_closed = True  # what it left incomplete was not confirmed and comes again
            connection.socket.close()
        self._connections.clear()
        for listener in (*self._listeners, self._wake_in, self._wake_out):
            listener.close()
        self._selector.close()

    # -- commits ------------------------------------------------------------------------------------------------------------

    def _commit_until(self, stop: threading.Event) -> None:
        try:
            self._commit_all(stop)
        except BaseException as failure:
            self._failure = failure

    def _commit_all(self, stop: threading.Event) -> None:
        while not stop.is_set():
            batch = self._drain()
            if not batch:
                continue
            receipts = self._commit([item.message for item in batch], stop)
            if receipts is None:
                return
            self._count(receipts, batch)
            for item, receipt in zip(batch, receipts, strict=True):
                codes = {reject.code for reject in receipt.rejects}
                self._done.append((item.connection, None if codes & UNANSWERED else item.answer, "rejected_device" in codes))
            self._wake()

    def _drain(self) -> list[_Waiting]:
        try:
            batch = [self._waiting.get(timeout=_POLL_S)]
        except queue.Empty:
            return []
        deadline = time.monotonic() + self.settings.max_wait_s
        while len(batch) < self.settings.max_batch:
            try:
                batch.append(self._waiting.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _commit(self, messages: Sequence[Message], stop: threading.Event) -> list[MessageReceipt] | None:
        """Commit, again and again while the database is out of reach; None when stopped."""
        delay = _FIRST_RETRY_S
        reason: GroundWatchError
        while not stop.is_set():
            try:
                return self.pipeline.ingest_messages(messages, self.clock(), source_kind="tcp")
            except UnavailableError as fault:
                reason = fault
                LOG.warning("the database takes nothing for now (%s); %d frames are not confirmed", fault, len(messages))
            except GroundWatchError as fault:
                reason = fault
                LOG.exception("%d frames cannot be committed and are not confirmed", len(messages))
            self.metrics.failed(reason.code, str(reason))
            stop.wait(delay)
            delay = min(delay * 2, _LAST_RETRY_S)
        return None

    def _count(self, receipts: Sequence[MessageReceipt], batch: Sequence[_Waiting]) -> None:
        quarantined = sum(receipt.is_quarantined for receipt in receipts)
        self.metrics.add(
            messages_committed=len(receipts) - quarantined,
            messages_quarantined=quarantined,
            observations_sent=sum(receipt.observations for receipt in receipts),
            batches=1,
        )
        self.metrics.put(lag_s=time.monotonic() - min(item.received_s for item in batch))

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            self._wake_in.send(b"\0")

    def _drain_wakes(self) -> None:
        with suppress(BlockingIOError, OSError):
            while self._wake_out.recv(4096):
                pass

    def _answer_all(self) -> None:
        """Send the confirmations of what was committed."""
        while self._done:
            connection, answer, is_rejected = self._done.popleft()
            connection.unanswered -= 1
            if connection.is_closed:
                continue
            if is_rejected:
                self._close(connection)
            elif answer is not None:
                connection.outgoing += answer
                self.metrics.add(answers_sent=1)
                self._send(connection)
