"""Two ingest processes share the devices' messages: each is stored once, whichever of them takes it and in whatever order."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from domain.model import Datastream, ObservedProperty, Station, StationKind
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_settings import MqttSettings
from service.bootstrap import Container
from service.settings import Settings
from tests.conftest import BrokerLogin
from tests.waiting import wait_until

pytestmark = pytest.mark.stack

STATIONS, MESSAGES = 4, 600
FIRST_SECOND = 1_767_225_600


class Member:
    """One ingest of the group, with a database pool of its own."""

    def __init__(self, url: str, broker: BrokerLogin, home: Path, group: str, name: str) -> None:
        self.container = Container(Settings(home, database_url=url))
        settings = MqttSettings(
            broker.url, client_id=f"{group}-{name}", shared_group=group, session_expiry_s=60, max_batch=50, receive_maximum=100
        )
        self.ingest = MqttIngest(settings, self.container.pipeline, lambda: datetime.now(UTC))
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.ingest.run, args=(self.stop_event,), daemon=True)

    def stop(self) -> None:
        self.stop_event.set()
        self.thread.join(10)
        self.container.close()


@pytest.fixture
def stations(own_database_url: str, tmp_path: Path) -> list[str]:
    codes = [f"G{uuid.uuid4().hex[:8]}" for _ in range(STATIONS)]
    with Container(Settings(tmp_path, database_url=own_database_url)) as container:
        container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        for code in codes:
            container.registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="test")
            container.registers.add_datastream(Datastream(code, "depth_to_water", "m"), actor="test")
    return codes


@pytest.fixture
def group(own_database_url: str, broker: BrokerLogin, tmp_path: Path, stations: list[str]) -> Iterator[list[Member]]:
    name = f"group-{stations[0]}"
    members = [Member(own_database_url, broker, tmp_path, name, str(number)) for number in range(2)]
    for member in members:
        member.thread.start()
    wait_until(lambda: all(member.ingest.metrics.is_connected for member in members), 15, "both connections")
    yield members
    for member in members:
        member.stop()


def stored(url: str) -> list[tuple[str, float, float]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT s.code, extract(epoch FROM o.phenomenon_time)::float8, o.result FROM observation o "
            "JOIN datastream d ON d.id = o.datastream_id JOIN station s ON s.id = d.station_id"
        ).fetchall()


@pytest.mark.timeout(120)
def test_each_message_is_stored_once_whichever_process_takes_it(
    own_database_url: str, broker: BrokerLogin, group: list[Member], stations: list[str]
) -> None:
    broker.stack.add_gateway("group-sender", "secret", stations=tuple(stations))
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("group-sender", "secret")
    client.connect(broker.host, broker.port)
    client.loop_start()
    wait_until(client.is_connected, 10, "the sender's connection")
    sent = set()
    try:
        waiting = []
        for number in range(MESSAGES):
            station, time_s, depth = stations[number % STATIONS], FIRST_SECOND + number, number / 8
            sent.add((station, float(time_s), depth))
            body = json.dumps({"t": time_s, "depth_to_water": depth})
            # Every tenth is sent twice, as a device does that missed its acknowledgement: both processes may get one.
            waiting += [client.publish(f"gw/v1/stations/{station}/obs", body, qos=1) for _ in range(2 if number % 10 == 0 else 1)]
        for info in waiting:
            info.wait_for_publish(30)
        counted = [member.ingest.metrics for member in group]
        wait_until(lambda: sum(each.messages_committed for each in counted) == len(waiting), 60, "every message committed")
    finally:
        client.disconnect()
        client.loop_stop()
    found = stored(own_database_url)
    assert len(found) == MESSAGES
    assert set(found) == sent
    assert all(each.messages_committed > MESSAGES // 10 for each in counted), "both take part"
    with psycopg.connect(own_database_url) as connection:
        for table in ("quarantine", "observation_revision"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
