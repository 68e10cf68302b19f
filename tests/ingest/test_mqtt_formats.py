"""Topics carry their formats over the real broker: SenML of a station, and an uplink that three gateways heard."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from domain.model import Datastream, Device, Station, StationKind
from ingest.pipeline import Pipeline
from tests.conftest import BrokerLogin
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.test_mqtt import running
from tests.waiting import wait_until

UPLINK = (
    (Path(__file__).resolve().parents[1] / "data" / "chirpstack" / "uplinks.jsonl").read_text(encoding="utf-8").splitlines()[0]
)
DEVICE = "70b3d57ba0000001"


@pytest.mark.stack
def test_senml_and_uplinks_arrive_by_their_topics(
    broker: BrokerLogin, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    station = f"F{uuid.uuid4().hex[:8]}"
    registry.add_station(Station(station, StationKind.OBSERVATION_WELL, station, station), actor="test")
    pressure = registry.add_datastream(Datastream(station, "water_pressure", "kPa"), actor="test")
    depth = registry.add_datastream(Datastream(station, "depth_to_water", "m"), actor="test")
    registry.devices["chirpstack", DEVICE] = Device("chirpstack", DEVICE, station, attributes={"parameters": {"pmax_bar": 2.0}})
    broker.stack.add_gateway("formats-test", "secret", stations=(station,), topics=("application/#",))
    sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    sender.username_pw_set("formats-test", "secret")
    sender.connect(broker.host, broker.port)
    sender.loop_start()
    process = running(broker, pipeline, f"ingest-{station}")
    process.start()
    try:
        wait_until(sender.is_connected, 10, "the sender's connection")
        pack = [{"bn": f"{station}:", "bt": 1767294240, "n": "depth_to_water", "u": "cm", "v": 523}]
        sender.publish(f"gw/v1/stations/{station}/senml", json.dumps(pack), qos=1).wait_for_publish(10)
        for fraction in (250, 900, 999):
            copy = json.loads(UPLINK) | {"time": f"2026-01-02T03:04:05.{fraction}Z"}
            sender.publish(f"application/a1/device/{DEVICE}/event/up", json.dumps(copy), qos=1).wait_for_publish(10)
        unknown = json.loads(UPLINK)
        sender.publish("application/a1/device/ffffffffffffffff/event/up", json.dumps(unknown), qos=1).wait_for_publish(10)
        wait_until(lambda: process.ingest.metrics.messages_committed == 4, 15, "four messages stored")
        wait_until(lambda: len(store.quarantine) >= 1, 15, "the unknown device in quarantine")
    finally:
        process.stop()
        sender.disconnect()
        sender.loop_stop()
    assert list(store.values(depth).values()) == [5.23]
    assert list(store.values(pressure).values()) == pytest.approx([(0x3E80 - 16384) / 32768 * 2 * 100])
    assert process.ingest.metrics.messages_quarantined == 1
