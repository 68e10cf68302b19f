"""The MQTT transport against the real broker, with the store in memory."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import paho.mqtt.client as paho
import pytest

from domain.errors import ConfigurationError
from ingest.pipeline import Pipeline
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_settings import MqttSettings, parse_broker_url
from tests.conftest import BrokerLogin
from tests.ingest.memory import MemoryStore
from tests.waiting import wait_until


def test_broker_urls() -> None:
    address = parse_broker_url("mqtt://us%40er:p%3Aw@broker.example:1999")
    assert (address.host, address.port, address.username, address.password) == ("broker.example", 1999, "us@er", "p:w")
    assert "p:w" not in repr(address)
    assert parse_broker_url("mqtts://host").port == 8883
    for wrong in ("http://host", "mqtt://", "mqtt://host:x"):
        with pytest.raises(ConfigurationError):
            parse_broker_url(wrong)


class Running:
    """An ingest in a thread of its own, which can be stopped and started again with the same session."""

    def __init__(self, ingest: MqttIngest) -> None:
        self.ingest = ingest
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.fault: BaseException | None = None

    def _run(self) -> None:
        try:
            self.ingest.run(self.stop_event)
        except BaseException as fault:
            self.fault = fault

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self.ingest.metrics.is_connected, 15, "the connection")
        time.sleep(0.2)  # the subscription is answered just after

    def stop(self) -> None:
        self.stop_event.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


def running(broker: BrokerLogin, pipeline: Pipeline, client_id: str, protocol: str = "auto") -> Running:
    settings = MqttSettings(broker.url, client_id=client_id, protocol=protocol, session_expiry_s=60)
    return Running(MqttIngest(settings, pipeline, lambda: datetime.now(UTC)))


def send(client: paho.Client, station: str, number: int) -> None:
    body = json.dumps({"t": 1_767_225_600 + number, "id": number, "depth_to_water": number / 8})
    client.publish(f"gw/v1/stations/{station}/obs", body, qos=1).wait_for_publish(10)


@pytest.mark.stack
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_are_committed_and_receipts_published(
    protocol: str, broker: BrokerLogin, sender: paho.Client, pipeline: Pipeline, store: MemoryStore, station: str
) -> None:
    receipts: list[dict[str, object]] = []
    sender.on_message = lambda _c, _u, message: receipts.append(json.loads(message.payload))
    sender.subscribe(f"gw/v1/stations/{station}/receipt", qos=1)
    process = running(broker, pipeline, f"ingest-{station}", protocol)
    process.start()
    try:
        for number in range(20):
            send(sender, station, number)
        sender.publish(f"gw/v1/stations/{station}/obs", b"\xff poison", qos=1).wait_for_publish(10)
        wait_until(lambda: len(store.rows) == 20 and len(store.quarantine) == 1, 10, "20 rows and one quarantined")
        wait_until(lambda: sum(len(r["committed"]) for r in receipts) == 21, 10, "the receipts")  # type: ignore[arg-type,misc]
    finally:
        process.stop()
    identities = {entry.get("id") for receipt in receipts for entry in receipt["committed"]}  # type: ignore[attr-defined]
    assert identities == {*map(str, range(20)), None}
    assert process.ingest.metrics.messages_committed == 20
    assert process.ingest.metrics.messages_quarantined == 1


@pytest.mark.stack
def test_nothing_is_acknowledged_while_the_database_is_away_and_the_session_keeps_it(
    broker: BrokerLogin, sender: paho.Client, pipeline: Pipeline, store: MemoryStore, station: str
) -> None:
    client_id = f"ingest-{station}"
    first = running(broker, pipeline, client_id)
    store.is_out_of_reach = True
    first.start()
    for number in range(30):
        send(sender, station, number)
    wait_until(lambda: first.ingest.metrics.commits_retried > 1, 10, "two failed commits")
    first.stop()
    assert store.rows == {}
    for number in range(30, 40):  # sent while nobody listens
        send(sender, station, number)
    store.is_out_of_reach = False
    second = running(broker, pipeline, client_id)
    second.start()
    wait_until(lambda: len(store.rows) == 40, 15, "what the session kept")
    second.stop()
    third = running(broker, pipeline, client_id)
    third.start()
    time.sleep(0.5)
    third.stop()
    assert third.ingest.metrics.messages_received == 0  # all was acknowledged


@pytest.mark.stack
def test_a_wrong_password_is_said(broker: BrokerLogin, pipeline: Pipeline) -> None:
    settings = MqttSettings(f"mqtt://nobody:wrong@{broker.host}:{broker.port}", client_id="nobody")
    with pytest.raises(ConfigurationError, match="refuses"):
        MqttIngest(settings, pipeline, lambda: datetime.now(UTC)).run(threading.Event())
