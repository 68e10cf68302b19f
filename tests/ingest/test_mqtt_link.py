"""The link to the broker: what is read ahead and sent together stays the same bytes, and a lost connection is made again."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime
from functools import partial

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.links import Link as Relay
from ingest.pipeline import Pipeline
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_link import Link, Wire, WiredClient
from ingest.transports.mqtt_settings import MqttSettings
from tests.conftest import BrokerLogin
from tests.ingest.memory import MemoryStore
from tests.ingest.test_mqtt import Running, send
from tests.waiting import wait_until


class Pieces:
    """A socket that gives and takes what a test says, and nothing more."""

    def __init__(self, arriving: list[bytes] | None = None, taking: list[int] | None = None) -> None:
        self.arriving, self.taking = list(arriving or []), list(taking or [])
        self.sent, self.calls, self.is_broken = b"", 0, False

    def recv(self, size: int) -> bytes:
        if not self.arriving:
            raise BlockingIOError
        piece = self.arriving.pop(0)
        assert len(piece) <= size
        return piece

    def send(self, content: bytes | bytearray) -> int:
        self.calls += 1
        if self.is_broken:
            raise ConnectionResetError
        if not self.taking:
            raise BlockingIOError
        taken = min(self.taking.pop(0), len(content))
        self.sent += bytes(content[:taken])
        return taken

    def close(self) -> None:
        pass


@given(st.lists(st.binary(min_size=1, max_size=20)), st.lists(st.integers(1, 30), min_size=1))
def test_what_is_read_ahead_comes_out_as_it_came_in_however_it_is_cut(pieces: list[bytes], sizes: list[int]) -> None:
    wire, read, turn = Wire(Pieces(pieces)), b"", 0
    while True:
        size = sizes[turn % len(sizes)]
        turn += 1
        try:
            part = wire.recv(size)
        except BlockingIOError:
            break
        assert 0 < len(part) <= size
        read += part
    assert read == b"".join(pieces)
    assert wire.pending() == 0


def test_bytes_that_were_read_ahead_are_pending() -> None:
    wire = Wire(Pieces([b"abcdef"]))
    assert wire.pending() == 0
    assert wire.recv(2) == b"ab"
    assert wire.pending() == 4


@given(st.lists(st.binary(min_size=1, max_size=8)), st.lists(st.integers(1, 9)))
def test_what_is_sent_together_arrives_in_order_however_little_the_system_takes(packets: list[bytes], taking: list[int]) -> None:
    below = Pieces(taking=taking)
    wire, given_bytes = Wire(below), b"".join(packets)
    for packet in packets:
        assert wire.send(packet) == len(packet)
    assert below.calls == 0
    assert wire.flush() == (sum(taking) >= len(given_bytes))
    assert given_bytes.startswith(below.sent)
    below.taking = [len(given_bytes) + 1]
    assert wire.flush()
    assert below.sent == given_bytes


def test_a_connection_that_broke_while_sending_keeps_nothing_for_the_next() -> None:
    below = Pieces()
    wire, below.is_broken = Wire(below), True
    wire.send(b"acknowledgement")
    assert wire.flush()  # nothing is left to send; the reader finds out
    below.is_broken, below.taking = False, [100]
    assert wire.flush()
    assert below.sent == b""


def test_the_end_of_a_connection_is_read_as_its_end() -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    there.sendall(b"xy")
    there.close()
    assert (wire.recv(1), wire.recv(1), wire.recv(1)) == (b"x", b"y", b"")
    wire.close()


def ingest(url: str, pipeline: Pipeline, station: str) -> MqttIngest:
    settings = MqttSettings(url, client_id=f"link-{station}", session_expiry_s=60, receive_maximum=30)
    return MqttIngest(settings, pipeline, lambda: datetime.now(UTC))


@pytest.mark.stack
def test_what_a_lost_connection_had_brought_comes_again_and_is_acknowledged_then(
    broker: BrokerLogin, sender: paho.Client, pipeline: Pipeline, store: MemoryStore, station: str
) -> None:
    with Relay(lambda: broker.port) as relay:
        url = broker.url.replace(f":{broker.port}", f":{relay.port}")
        process = Running(ingest(url, pipeline, station))
        process.start()
        store.is_out_of_reach = True
        for number in range(25):
            send(sender, station, number)
        wait_until(lambda: process.ingest.metrics.commits_retried > 0, 10, "a commit that failed")
        # All must have come before the cut: only what this connection has brought comes twice.
        wait_until(
            lambda: process.ingest.metrics.messages_received + process.ingest._backlog == 25, 10, "all of the first connection"
        )
        relay.cut()
        wait_until(lambda: process.ingest.metrics.reconnects == 1, 10, "the loss")
        wait_until(lambda: process.ingest.metrics.is_connected, 15, "the new connection")
        for number in range(25, 60):  # with the packet ids of the former connection
            send(sender, station, number)
        store.is_out_of_reach = False
        wait_until(lambda: len(store.rows) == 60, 15, "all observations")
        wait_until(lambda: process.ingest.metrics.messages_committed >= 85, 15, "what came again")
        process.stop()
    again = Running(ingest(broker.url, pipeline, station))
    again.start()
    send(sender, station, 60)
    wait_until(lambda: len(store.rows) == 61, 10, "the last message")
    again.stop()
    assert again.ingest.metrics.messages_received == 1  # all else was acknowledged


@pytest.mark.stack
def test_nothing_is_read_while_nobody_can_take_it_and_all_of_it_comes_afterwards(
    broker: BrokerLogin, sender: paho.Client, station: str
) -> None:
    taken: list[int] = []
    may_read, turned = threading.Event(), threading.Event()
    may_read.set()
    client = WiredClient(CallbackAPIVersion.VERSION2, client_id=f"reader-{station}", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.on_connect = lambda connected, *_: connected.subscribe(f"gw/v1/stations/{station}/obs", 1)
    client.on_subscribe = lambda *_: turned.set()
    client.on_message = lambda _c, _u, message: taken.append(json.loads(message.payload)["id"])
    client.connect_async(broker.host, broker.port)
    link = Link(client, lambda: None, may_read.is_set, lambda _: None)
    link.start()
    assert turned.wait(10)
    may_read.clear()
    turned.clear()
    link.post(turned.set)
    assert turned.wait(10)  # from here on the link knows
    for number in range(50):
        send(sender, station, number)
    assert taken == []
    may_read.set()
    wait_until(lambda: len(taken) == 50, 10, "what had waited")
    assert taken == list(range(50))
    link.stop()
    assert link.failure is None


@pytest.mark.stack
def test_what_is_posted_before_the_end_still_reaches_the_broker(broker: BrokerLogin, sender: paho.Client, station: str) -> None:
    told: list[str] = []
    sender.on_message = lambda _c, _u, message: told.append(message.payload.decode())
    sender.subscribe(f"gw/v1/stations/{station}/receipt", qos=1)
    client = WiredClient(CallbackAPIVersion.VERSION2, client_id=f"poster-{station}", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.connect_async(broker.host, broker.port)
    link = Link(client, lambda: None, lambda: True, lambda _: None)
    link.start()
    wait_until(client.is_connected, 10, "the connection")
    for number in range(300):
        link.post(partial(client.publish, f"gw/v1/stations/{station}/receipt", str(number)))
    link.stop()
    wait_until(lambda: len(told) == 300, 10, "all that was posted")
    assert told == [str(number) for number in range(300)]


@pytest.mark.stack
def test_a_fault_of_a_callback_ends_the_link_and_is_told(broker: BrokerLogin, station: str) -> None:
    client = WiredClient(CallbackAPIVersion.VERSION2, client_id=f"faulty-{station}", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.connect_async(broker.host, broker.port)

    def on_connect(*_: object) -> None:
        raise ZeroDivisionError

    client.on_connect = on_connect
    link = Link(client, lambda: None, lambda: True, lambda _: None)
    link.start()
    wait_until(lambda: link.failure is not None, 10, "the fault")
    assert isinstance(link.failure, ZeroDivisionError)
    link.stop()
