"""The simulated gateway against the real broker: what it hands over is acknowledged and complete."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from domain.errors import UnavailableError
from service.demo.gateway import Publisher, push
from service.demo.network import build
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import BrokerLogin

pytestmark = pytest.mark.stack


def test_backlog_and_rounds_reach_the_broker_under_each_station(broker: BrokerLogin) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    network = build(11, now - timedelta(days=2))
    name, password = f"gateway-{uuid.uuid4().hex[:6]}", uuid.uuid4().hex
    broker.stack.add_gateway(name, password, tuple(station.code for station in network.live_stations()))
    received: list[tuple[str, dict[str, Any]]] = []
    listener = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"listener-{uuid.uuid4().hex[:6]}")
    listener.username_pw_set(broker.username, broker.password)
    listener.on_message = lambda _client, _data, message: received.append((message.topic, json.loads(message.payload)))
    subscribed = threading.Event()
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.connect(broker.host, broker.port)
    listener.subscribe("gw/v1/stations/+/obs", qos=1)
    listener.loop_start()
    assert subscribed.wait(10)
    stop = threading.Event()
    timer = threading.Timer(2.0, stop.set)
    try:
        with Publisher(f"mqtt://{name}:{password}@{broker.host}:{broker.port}") as publisher:
            timer.start()
            sent = push(publisher, network, {}, lambda: datetime.now(UTC), stop, np.random.default_rng(1), interval_s=0.1)
            assert publisher.drain(10)
            assert publisher.unacknowledged == 0
        wait_until(lambda: len(received) >= sent, message=f"{sent} messages")
    finally:
        timer.cancel()
        listener.loop_stop()
        listener.disconnect()
    assert len(received) == sent
    stations = {topic.split("/")[3] for topic, _ in received}
    assert stations == {station.code for station in network.live_stations()}
    silent = network.truths.silent[0].datastream
    bodies = [body for topic, body in received if topic.split("/")[3] == silent.split(":")[0]]
    assert bodies
    assert all(silent.split(":")[1] not in body for body in bodies)
    well = [body for topic, body in received if topic.split("/")[3] == "JX-OW01"]
    assert isinstance(well[0]["t"], list)
    assert len(well[0]["t"]) == len(well[0]["depth_to_water"]) in {11, 12}


def test_a_refused_account_is_reported(broker: BrokerLogin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.demo.gateway.CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(UnavailableError, match="did not accept"), Publisher(f"mqtt://nobody:wrong@{broker.host}:{broker.port}"):
        pass


def test_a_broker_out_of_reach_is_reported() -> None:
    with pytest.raises(UnavailableError, match="out of reach"), Publisher("mqtt://a:b@127.0.0.1:1"):
        pass
