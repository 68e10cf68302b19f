"""MQTT: device messages in, acknowledged after the commit of their observations.

QoS 1, a persistent session (MQTT 5 session expiry, or 3.1.1 without clean session) and manual acknowledgement: a message leaves the
broker only when the database has it. One batch is committed while the next is parsed and the one after it arrives, always in the order
of their coming. While the database is out of reach nothing is acknowledged, and the broker keeps what is beyond the receive maximum.
After a lost connection the broker sends again what was not acknowledged; the pipeline recognises what it has. Packet ids are reused by a
new connection, so a message is acknowledged only on the connection that delivered it. This file finishes with `MqttIngest`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from domain.errors import ConfigurationError, GroundWatchError, UnavailableError
from ingest.formats.sparkplug import rebirth_request
from ingest.messages import Message, PreparedMessages
from ingest.pipeline import Pipeline
from ingest.report import MessageReceipt
from ingest.transports.births import BirthBook
from ingest.transports.metrics import IngestMetrics
from ingest.transports.mqtt_link import Link, WiredClient
from ingest.transports.mqtt_settings import MqttSettings, parse_broker_url
from ingest.transports.mqtt_tls import explained, tls_for
from ingest.transports.topics import DEVICE_TOPICS, message_of

LOG = logging.getLogger(__name__)
T = TypeVar("T")
OBSERVATION_TOPIC = "gw/v1/stations/+/obs"
_UNSUPPORTED_VERSION = 132
_IDLE_S = 0.2
_FIRST_RETRY_S, _LAST_RETRY_S = 0.2, 5.0
_MAX_RECEIPTS_PER_MESSAGE = 500


class _Delivery(NamedTuple):
    """A message and the packet that brought it; a named tuple, because each message is one."""

    message: Message | None
    mid: int
    qos: int
    connection: int


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What was read from the broker together, and when."""

    deliveries: list[_Delivery]
    received_s: float


@dataclass(frozen=True, slots=True)
class _Ready:
    batch: list[_Delivery]
    prepared: PreparedMessages
    received_s: float
    born: list[str]


class MqttIngest:
    """Subscribes to the devices' topics and commits what they send.

    Parameters
    ----------
    settings
        Broker and limits.
    pipeline
        Where messages go.
    clock
        Returns the present time (aware).
    metrics
        Counters to keep; made when not given.
    births
        What Sparkplug B nodes call their metrics; in memory alone when not given.
    on_birth
        Told of an edge node (`group/node`) whose births came, when they and all before them are committed.
    """

    def __init__(
        self,
        settings: MqttSettings,
        pipeline: Pipeline,
        clock: Callable[[], datetime],
        metrics: IngestMetrics | None = None,
        births: BirthBook | None = None,
        on_birth: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings, self.pipeline, self.clock = settings, pipeline, clock
        self.metrics = metrics or IngestMetrics()
        self.births = births or BirthBook(None, counts_sequence=settings.shared_group is None)
        self.on_birth = on_birth
        self.address = parse_broker_url(settings.url)
        self._tls = tls_for(self.address, settings.tls)
        self.fault: GroundWatchError | None = None
        self._failure: BaseException | None = None
        self._incoming: list[_Delivery] = []
        self._incoming_since: datetime | None = None
        self._arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._rest = _Arrival([], 0.0)
        self._backlog = 0
        self._backlog_lock = threading.Lock()
        self._connection = 0
        self._is_stopping = False
        self._use_5 = settings.protocol in {"auto", "5"}
        if settings.protocol not in {"auto", "5", "3.1.1"}:
            raise ConfigurationError(f"{settings.protocol!r} is no MQTT version.", remedy="write auto, 5 or 3.1.1")

    def run(self, stop: threading.Event) -> None:
        """Take messages until `stop` is set; connect, and connect again, as long as it takes.

        Raises
        ------
        ConfigurationError
            When the broker refuses the client for good (credentials).
        """
        while not stop.is_set():
            self._is_stopping = False
            link = Link(self._client(), self._hand_on, lambda: self._backlog < self.settings.queue_size, self._on_fault)
            link.start()
            ready: queue.Queue[_Ready | None] = queue.Queue(1)
            storing = threading.Thread(target=self._store_all, args=(link, ready, stop), name="mqtt-commit", daemon=True)
            storing.start()
            try:
                while not (stop.is_set() or self._has_failed(link) or self._must_fall_back(link.client)):
                    self._take(link, ready, stop)
            finally:
                self._end(storing, ready)
                self._is_stopping = True
                link.stop()
            failure = self._failure or link.failure or self.fault
            if failure is not None:
                raise failure

    def _has_failed(self, link: Link) -> bool:
        return (self.fault or self._failure or link.failure) is not None

    def _end(self, storing: threading.Thread, ready: queue.Queue[_Ready | None]) -> None:
        """Let what was handed over be stored, and wait for it."""
        while storing.is_alive():
            try:
                ready.put(None, timeout=_IDLE_S)
            except queue.Full:
                continue
            storing.join()

    def _must_fall_back(self, client: paho.Client) -> bool:
        return not self._use_5 and client.protocol == MQTTProtocolVersion.MQTTv5

    def _client(self) -> WiredClient:
        client = WiredClient(
            CallbackAPIVersion.VERSION2,
            client_id=self.settings.client_id,
            clean_session=None if self._use_5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if self._use_5 else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
        )
        if self.address.username:
            client.username_pw_set(self.address.username, self.address.password)
        client.tls = self._tls
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        extra: dict[str, Any] = {}
        if self._use_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self.settings.session_expiry_s
            properties.ReceiveMaximum = self.settings.receive_maximum
            extra = {"clean_start": False, "properties": properties}
        client.connect_async(self.address.host, self.address.port, self.settings.keepalive_s, **extra)
        return client

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refused(client, reason)
            return
        share = f"$share/{self.settings.shared_group}/" if self.settings.shared_group else ""
        client.subscribe([(share + topic.subscription, 1) for topic in DEVICE_TOPICS])
        if not flags.session_present:
            self.births.forget_sessions()
        self.metrics.put(is_connected=True, connection_fault="")
        LOG.info(
            "connected to the broker %s:%d, session %s",
            self.address.host,
            self.address.port,
            "kept" if flags.session_present else "new",
        )

    def _refused(self, client: paho.Client, reason: ReasonCode) -> None:
        if self._use_5 and self.settings.protocol == "auto" and reason.value == _UNSUPPORTED_VERSION:
            LOG.info("the broker does not speak MQTT 5; falling back to 3.1.1")
            self._use_5 = False
        elif reason.value in {133, 134, 135, 138}:
            self.fault = ConfigurationError(
                f"the broker refuses the connection: {reason}.",
                where=f"{self.address.host}:{self.address.port}",
                remedy="check user name and password in GROUNDWATCH_MQTT_URL",
            )
        else:
            LOG.warning("the broker refuses the connection: %s; trying again", reason)

    def _on_fault(self, fault: OSError) -> None:
        """Say why there is no connection; the link goes on trying, for a certificate is renewed at the broker without a word to us."""
        reason = explained(fault, self.address.host, self.address.port)
        self.metrics.put(connection_fault=str(reason))
        LOG.warning("%s; trying again", reason)

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: paho.DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        # From here on what was delivered before must not be acknowledged: the next connection uses its packet ids anew.
        self._connection += 1
        self.metrics.put(is_connected=False)
        if not self._is_stopping:
            self.metrics.add(reconnects=1)
            LOG.warning("the connection to the broker is lost (%s); the session is kept", reason)

    def _on_message(self, client: paho.Client, userdata: Any, incoming: paho.MQTTMessage) -> None:
        if not self._incoming:
            self._incoming_since = self.clock()  # what is read together came together
        assert self._incoming_since is not None
        message = message_of(incoming.topic, bytes(incoming.payload), self._incoming_since)
        self._incoming.append(_Delivery(message, incoming.mid, incoming.qos, self._connection))

    def _hand_on(self) -> None:
        """Give what was read together to whoever parses it."""
        if not self._incoming:
            return
        arrival, self._incoming = _Arrival(self._incoming, time.monotonic()), []
        self._count_backlog(len(arrival.deliveries))
        self._arrivals.put(arrival)

    def _count_backlog(self, change: int) -> None:
        with self._backlog_lock:
            self._backlog += change

    def _take(self, link: Link, ready: queue.Queue[_Ready | None], stop: threading.Event) -> None:
        """Parse what has come, and hand it over to be stored."""
        arrival = self._drain()
        self.metrics.put(queued=self._backlog)
        if arrival is None:
            return
        batch = arrival.deliveries
        self.metrics.add(messages_received=len(batch))
        named = (self._named(link, delivery.message, delivery.connection) for delivery in batch if delivery.message is not None)
        messages = [message for message in named if message is not None]
        born = self.births.take_born()
        prepared = self._insist(lambda: self.pipeline.prepare_messages(messages, self.clock()), len(batch), stop)
        while prepared is not None and not stop.is_set() and self._failure is None:
            try:
                ready.put(_Ready(batch, prepared, arrival.received_s, born), timeout=_IDLE_S)
            except queue.Full:
                continue
            return

    def _named(self, link: Link, message: Message, connection: int) -> Message | None:
        """Give the metrics of Sparkplug B their names; a node whose names are not known is asked for them, one that dies says no more."""
        if message.format != "sparkplug":
            return message
        named, ask = self.births.complete(message, connection)
        if ask is not None:
            request = rebirth_request(round(self.clock().timestamp() * 1000))
            link.post(partial(self._publish, link.client, [(ask, request)]))
        return named

    def _store_all(self, link: Link, ready: queue.Queue[_Ready | None], stop: threading.Event) -> None:
        """Commit and acknowledge batch after batch, in their order, until None comes."""
        try:
            while (taken := ready.get()) is not None:
                self._store(link, taken, stop)
        except BaseException as failure:
            self._failure = failure

    def _store(self, link: Link, taken: _Ready, stop: threading.Event) -> None:
        batch = taken.batch
        receipts = self._insist(lambda: self.pipeline.commit_messages(taken.prepared, self.clock()), len(batch), stop)
        if receipts is None:
            return
        link.post(partial(self._acknowledge, link.client, batch))
        self._count(receipts, taken)
        for edge in taken.born:
            self.on_birth(edge)
        if self.settings.send_receipts:
            link.post(partial(self._publish, link.client, self._receipts(receipts)))

    def _acknowledge(self, client: paho.Client, batch: Sequence[_Delivery]) -> None:
        """Let the broker forget what is committed; runs where connections are made and lost.

        What came over a lost connection is committed too (the broker may have lost the session), but not acknowledged: it comes again, and
        is recognised.
        """
        for delivery in batch:
            if delivery.connection == self._connection and delivery.qos:
                client.ack(delivery.mid, delivery.qos)

    def _drain(self) -> _Arrival | None:
        """Take what has come, as much as one commit may hold; None when nothing comes."""
        # A third of what may be in flight: while one batch is committed the next is parsed, and the one after it arrives.
        most = max(1, min(self.settings.max_batch, self.settings.receive_maximum // 3))
        batch, received_s = list(self._rest.deliveries), self._rest.received_s
        deadline = time.monotonic() + (self.settings.max_wait_s if batch else _IDLE_S)
        while len(batch) < most:
            try:
                arrival = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if not batch:
                received_s = arrival.received_s
                deadline = time.monotonic() + self.settings.max_wait_s
            batch += arrival.deliveries
        self._rest = _Arrival(batch[most:], received_s)
        taken = batch[:most]
        self._count_backlog(-len(taken))
        return _Arrival(taken, received_s) if taken else None

    def _insist(self, act: Callable[[], T], amount: int, stop: threading.Event) -> T | None:
        """Do what needs the database, again and again while it is out of reach; None when stopped."""
        delay = _FIRST_RETRY_S
        reason: GroundWatchError
        while not stop.is_set():
            try:
                return act()
            except UnavailableError as fault:
                reason = fault
                LOG.warning("the database takes nothing for now (%s); %d messages stay with the broker", fault, amount)
            except GroundWatchError as fault:
                reason = fault
                LOG.exception("%d messages cannot be committed; they stay with the broker", amount)
            self.metrics.failed(reason.code, str(reason))
            stop.wait(delay)
            delay = min(delay * 2, _LAST_RETRY_S)
        return None

    def _count(self, receipts: Sequence[MessageReceipt], taken: _Ready) -> None:
        quarantined = sum(receipt.is_quarantined for receipt in receipts)
        self.metrics.add(
            messages_committed=len(receipts) - quarantined,
            messages_quarantined=quarantined,
            observations_sent=sum(receipt.observations for receipt in receipts),
            batches=1,
        )
        self.metrics.put(lag_s=time.monotonic() - taken.received_s)

    def _receipts(self, receipts: Sequence[MessageReceipt]) -> list[tuple[str, str | bytes]]:
        """Return (topic, body) of what is told to each station."""
        by_station: Mapping[str, list[dict[str, Any]]] = defaultdict(list)
        for receipt in receipts:
            by_station[receipt.station].append(receipt.to_json())
        at = self.clock().isoformat()
        told: list[tuple[str, str | bytes]] = []
        for station, entries in by_station.items():
            for start in range(0, len(entries), _MAX_RECEIPTS_PER_MESSAGE):
                body = {"at": at, "committed": entries[start : start + _MAX_RECEIPTS_PER_MESSAGE]}
                told.append((f"gw/v1/stations/{station}/receipt", orjson.dumps(body)))
        return told

    @staticmethod
    def _publish(client: paho.Client, told: Sequence[tuple[str, str | bytes]]) -> None:
        for topic, body in told:
            client.publish(topic, body, qos=0)
