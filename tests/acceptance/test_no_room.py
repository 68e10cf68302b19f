"""A full disk and a limit of connections: named by readiness and metrics, nothing acknowledged or lost, and work again afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from prometheus_client import CollectorRegistry, generate_latest

from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.api.metrics import DatabaseCollector
from service.api.readiness import Readiness
from service.bootstrap import Container
from service.embedded.home import server_account
from service.receiving import run_ingest
from service.settings import Settings
from storage.database import Database
from tests.conftest import BrokerLogin
from tests.waiting import wait_until

pytestmark = pytest.mark.stack

ROOM_BYTES = 6 * 1024 * 1024
MESSAGES = 40
PADDING = 60_000


@pytest.fixture
def small_disk(stack_home: Path) -> Iterator[Path]:
    """A file system of a few megabytes that the server may write to."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = stack_home / f"small-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("this machine does not let root mount a file system")
    account = server_account(stack_home)
    data = folder / "data"
    data.mkdir()
    account.own(data)
    try:
        yield data
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def station(own_database_url: str, tmp_path: Path) -> str:
    code = f"R{uuid.uuid4().hex[:8]}"
    with Container(Settings(tmp_path, database_url=own_database_url)) as container:
        container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        container.registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="test")
        container.registers.add_datastream(Datastream(code, "depth_to_water", "m"), actor="test")
    return code


@pytest.fixture
def sender(broker: BrokerLogin, station: str) -> Iterator[paho.Client]:
    broker.stack.add_gateway("no-room", "secret", stations=(station,))
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set("no-room", "secret")
    client.connect(broker.host, broker.port)
    client.loop_start()
    wait_until(client.is_connected, 10, "the sender's connection")
    yield client
    client.disconnect()
    client.loop_stop()


def metrics_of(container: Container) -> str:
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(container))
    return generate_latest(registry).decode()


def reasons(container: Container) -> dict[str, str]:
    return {check.name: check.reason for check in Readiness(container, datetime.now(UTC)).checks()}


def stored(url: str) -> list[float]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT result FROM observation ORDER BY phenomenon_time")]


@pytest.mark.timeout(180)
def test_a_full_disk_is_named_and_ingest_goes_on_when_there_is_room(
    small_disk: Path, own_database_url: str, broker: BrokerLogin, sender: paho.Client, station: str, tmp_path: Path
) -> None:
    space = f"small_{uuid.uuid4().hex[:8]}"
    filler = small_disk.parent / "filler"
    settings = Settings(tmp_path, database_url=own_database_url, mqtt_url=broker.url, mqtt_client_id=f"ingest-{station}")
    stop = threading.Event()
    with psycopg.connect(own_database_url, autocommit=True) as admin, Container(settings) as container:
        admin.execute(f"CREATE TABLESPACE {space} LOCATION '{small_disk}'")
        ingest = threading.Thread(target=run_ingest, args=(container, stop), daemon=True)
        try:
            admin.execute(f"ALTER TABLE raw_payload SET TABLESPACE {space}")
            ingest.start()
            wait_until(lambda: "groundwatch_ingest_connected{" in metrics_of(container), 30, "a sign of life")
            filler.write_bytes(b"x" * (ROOM_BYTES - 1024 * 1024))
            for number in range(MESSAGES):
                body = {
                    "t": 1_767_225_600 + number,
                    "id": f"{number}-{os.urandom(PADDING // 2).hex()}",
                    "depth_to_water": number / 8,
                }
                sender.publish(f"gw/v1/stations/{station}/obs", json.dumps(body), qos=1).wait_for_publish(10)
            wait_until(lambda: "disk is full" in reasons(container).get("ingest", ""), 30, "readiness that names the full disk")
            assert "No space left on device" in reasons(container)["ingest"]
            assert 'groundwatch_ingest_commit_fault{fault="disk-full"' in metrics_of(container)
            assert len(stored(own_database_url)) < MESSAGES
            filler.unlink()
            wait_until(lambda: len(stored(own_database_url)) == MESSAGES, 60, "the observations, once there is room")
            assert stored(own_database_url) == [number / 8 for number in range(MESSAGES)]
            wait_until(lambda: not reasons(container)["ingest"], 30, "readiness without a complaint")
            assert "disk-full" not in metrics_of(container)
        finally:
            stop.set()
            ingest.join(20)
            filler.unlink(missing_ok=True)
            admin.execute("TRUNCATE raw_payload CASCADE")
            admin.execute("ALTER TABLE raw_payload SET TABLESPACE pg_default")
            admin.execute(f"DROP TABLESPACE {space}")


def test_a_limit_of_connections_is_named_and_left_behind(own_database_url: str, broker: BrokerLogin, tmp_path: Path) -> None:
    server, _, name = own_database_url.rpartition("/")
    role = f"narrow_{name}"
    url = f"postgresql://{role}:narrow@{server.rpartition('@')[2]}/{name}"
    with psycopg.connect(own_database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'narrow'")
        admin.execute(f"ALTER ROLE {role} NOSUPERUSER CONNECTION LIMIT 1")
        admin.execute(f"GRANT pg_read_all_data TO {role}")
        try:
            with psycopg.connect(url) as only, Container(Settings(tmp_path, database_url=url, mqtt_url=broker.url)) as container:
                container.db = Database(url, wait_s=0.5).open()
                assert "too many connections" in reasons(container)["database"]
                said = metrics_of(container)
                assert "groundwatch_database_up 0.0" in said
                assert 'groundwatch_database_fault{fault="connection-limit"} 1.0' in said
                only.close()
                wait_until(lambda: "groundwatch_database_up 1.0" in metrics_of(container), 60, "the gauges again")
                assert not reasons(container)["database"]
                assert "groundwatch_database_fault" not in metrics_of(container)
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")
