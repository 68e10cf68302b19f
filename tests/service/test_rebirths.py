"""Sparkplug B through the running ingest: what came before a birth waits, the node is asked, and its birth brings back what it proves."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from domain.model import Datastream, Device, Station, StationKind
from ingest.transports.topics import message_of
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.receiving import run_ingest
from service.replaying import replay_since
from service.settings import Settings
from storage.register_rows import Node as NodeRow
from tests.conftest import BrokerLogin
from tests.ingest import sparkplug_wire as wire
from tests.ingest.sparkplug_wire import metric, payload
from tests.waiting import wait_until

pytestmark = pytest.mark.stack


class EdgeNode:
    """An edge node of its own name, connected, that remembers what it was asked."""

    def __init__(self, broker: BrokerLogin) -> None:
        self.name = f"PLC{uuid.uuid4().hex[:8]}"
        broker.stack.add_gateway(self.name, "secret", topics=(f"spBv1.0/SPA/+/{self.name}/#",))
        self.asked = 0
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.username_pw_set(self.name, "secret")
        self.client.on_message = self._on_message
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        wait_until(self.client.is_connected, 10, "the node is connected")
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.subscribe(f"spBv1.0/SPA/NCMD/{self.name}", qos=1)
        assert subscribed.wait(10)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        assert b"Node Control/Rebirth" in message.payload
        self.asked += 1

    def says(self, kind: str, raw: bytes, device: str = "") -> None:
        self.client.publish(f"spBv1.0/SPA/{kind}/{self.name}{device}", raw, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def node(broker: BrokerLogin) -> Iterator[EdgeNode]:
    made = EdgeNode(broker)
    yield made
    made.close()


@pytest.fixture
def container(own_database_url: str, broker: BrokerLogin, tmp_path: Path, node: EdgeNode) -> Iterator[Container]:
    settings = Settings(tmp_path, own_database_url, broker.url, mqtt_client_id=f"rebirth-{node.name}")
    with Container(settings) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(NodeRow("jiaxing", "嘉兴", "Jiaxing", "330400"))
        opened.registers.add_station(Station("SPA", StationKind.GEOTHERMAL_WELL, "温泉", "Spa"), actor="t")
        opened.registers.add_datastream(Datastream("SPA", "wellhead_temperature", "Cel"), actor="t")
        elements = {"Well/Temperature": {"property": "wellhead_temperature", "unit": "Cel"}}
        device = Device("sparkplug", f"SPA/{node.name}/W1", "SPA", attributes={"elements": elements})
        opened.devices.store(device, actor="t")
        opened.devices.store(Device("sparkplug", f"SPA/{node.name}", "SPA"), actor="t")
        yield opened


class Ingest:
    """The ingest process in threads, until the end of a `with`."""

    def __init__(self, container: Container) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run_ingest, args=(container, self._stop), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def ms(second: int) -> int:
    return round((BEGIN + timedelta(seconds=second)).timestamp() * 1000)


def data(second: int, seq: int) -> bytes:
    return payload([metric(None, 50.0 + second, alias=1, datatype=None, kind=wire.DOUBLE)], at_ms=ms(second), seq=seq)


def births(node: EdgeNode, session: int) -> None:
    node.says("NBIRTH", payload([metric("bdSeq", session, datatype=wire.INT64)], at_ms=ms(100), seq=0))
    node.says("DBIRTH", payload([metric("Well/Temperature", 99.0, alias=1)], at_ms=ms(100 + session), seq=1), "/W1")


def stored(container: Container) -> dict[float, float]:
    stream = container.registers.datastream("SPA:wellhead_temperature")
    assert stream is not None
    rows = container.observations.page(stream.datastream_id or 0, None, None, limit=100)
    return {(row.phenomenon_time - BEGIN).total_seconds(): row.result for row in rows if row.result is not None}


def waiting(container: Container) -> list[str]:
    """Why messages wait for their births."""
    return [row.reason for row in container.observations.quarantined(limit=100) if row.code == "alias"]


def begun(container: Container, node: EdgeNode) -> None:
    """Wait until messages of the node arrive, by one with a metric that has no place."""

    def has_arrived() -> bool:
        node.says("NDATA", payload([metric("Unplaced", 1.0)], seq=4))
        return bool(container.observations.quarantined(limit=1))

    wait_until(has_arrived, 30, "the first message", poll=0.3)


def test_what_waited_for_a_birth_comes_back_by_itself_when_its_session_is_proven(container: Container, node: EdgeNode) -> None:
    with Ingest(container):
        begun(container, node)
        for second in (1, 2, 3):
            node.says("DDATA", data(second, 4 + second), "/W1")
        wait_until(lambda: len(waiting(container)) == 3, 15, "three messages that nobody can name")
        wait_until(lambda: node.asked == 1, 10, "the node is asked for its births")
        assert stored(container) == {}
        births(node, 7)
        wait_until(lambda: len(stored(container)) == 4, 15, "what waited, and the birth's own value")
        wait_until(lambda: waiting(container) == [], 10, "an empty quarantine")
    assert stored(container) == {1.0: 51.0, 2.0: 52.0, 3.0: 53.0, 107.0: 99.0}


def test_what_another_session_may_have_sent_waits_with_its_reason_whoever_replays(container: Container, node: EdgeNode) -> None:
    with Ingest(container):
        begun(container, node)
        node.says("DDATA", data(1, 5), "/W1")
        wait_until(lambda: len(waiting(container)) == 1, 15, "the message of the first session")
        node.says("NDEATH", payload([metric("bdSeq", 7, datatype=wire.INT64)]))
        births(node, 8)
        wait_until(lambda: any("the node died in between" in reason for reason in waiting(container)), 15, "the reason")
        node.says("DDATA", data(4, 2), "/W1")
        wait_until(lambda: len(stored(container)) == 2, 15, "the birth's value and what came after")
    replay_since(container, BEGIN)
    (reason,) = waiting(container)
    assert "the node died in between" in reason
    assert "Remedy: have the edge node send it again" in reason
    assert stored(container) == {4.0: 54.0, 108.0: 99.0}


def test_what_was_proven_while_nobody_could_replay_is_named_by_the_next_replay(container: Container, node: EdgeNode) -> None:
    with Ingest(container):
        begun(container, node)
        births(node, 3)
        node.says("DDATA", payload([metric(None, 5.0, alias=9)], at_ms=ms(5), seq=2), "/W1")
        wait_until(lambda: len(waiting(container)) == 1, 15, "a metric whose birth was lost")
    book = container.births
    late = payload([metric("Well/Temperature", 1.0, alias=9), metric("bdSeq", 3, datatype=wire.INT64)], seq=0)
    birth = message_of(f"spBv1.0/SPA/NBIRTH/{node.name}", late, container.clock())
    assert birth is not None
    book.complete(birth)
    report = replay_since(container, BEGIN)
    assert report.resolved == 1
    assert waiting(container) == []
    assert stored(container)[5.0] == 5.0
