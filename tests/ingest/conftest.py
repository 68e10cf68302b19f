from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from domain.datum import DatumOffset
from domain.model import Datastream, Device, Station, StationKind
from ingest.pipeline import Pipeline
from tests.conftest import BrokerLogin
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.rtu_server import Serve, Server
from tests.waiting import wait_until

NOW = datetime(2026, 11, 22, tzinfo=UTC)
JIAXING = DatumOffset("CN-WUSONG", "CN-H85", "3304", -1.828, "test table")
SHANGHAI = DatumOffset("CN-WUSONG", "CN-H85", "31", -1.659, "test table")


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry([JIAXING, SHANGHAI])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pipeline(registry: MemoryRegistry, store: MemoryStore) -> Pipeline:
    return Pipeline(registry, store)


@pytest.fixture
def sender(broker: BrokerLogin, station: str) -> Iterator[paho.Client]:
    """A device of the station, connected."""
    broker.stack.add_gateway("mqtt-test", "secret", stations=(station,))
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("mqtt-test", "secret")
    client.connect(broker.host, broker.port)
    client.loop_start()
    wait_until(client.is_connected, 10, "the sender's connection")
    yield client
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def station(registry: MemoryRegistry) -> str:
    """A well with a datastream of its own."""
    code = f"M{uuid.uuid4().hex[:8]}"
    registry.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="test")
    registry.add_datastream(Datastream(code, "depth_to_water", "m"), actor="test")
    return code


@pytest.fixture
def rtu_wells(registry: MemoryRegistry) -> None:
    """Register a well for each protocol."""
    for code in ("W1", "T1"):
        registry.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
    for station, name, unit in (
        ("W1", "depth_to_water", "m"),
        ("W1", "water_temperature", "Cel"),
        ("W1", "battery_voltage", "V"),
        ("W1", "abstraction_rate", "m3/h"),
        ("T1", "tail_water_temperature", "Cel"),
        ("T1", "electrical_conductivity", "uS/cm"),
    ):
        registry.add_datastream(Datastream(station, name, unit), actor="t")
    registry.devices["sl651", "3304020001"] = Device("sl651", "3304020001", "W1")
    registry.devices["hj212", "JX0000TAIL01"] = Device("hj212", "JX0000TAIL01", "T1")


@pytest.fixture
def serve(pipeline: Pipeline, rtu_wells: None) -> Iterator[Serve]:
    """Start servers of RTUs; they stop with the test."""
    servers: list[Server] = []

    def start(**limits: Any) -> Server:
        servers.append(Server(pipeline, **limits))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
