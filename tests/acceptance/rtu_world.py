"""What the scenarios of RTUs share: the real ingest on real sockets, broker and database, and the API to read what became of a frame."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from domain.model import Datastream, Station, StationKind
from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.receiving import run_ingest
from service.settings import Settings
from storage.heartbeats import HeartbeatRepository
from storage.register_rows import Node
from tests.conftest import BrokerLogin
from tests.service.api.client import TestClient
from tests.waiting import wait_until

LOOPBACK = "127.0.0.1"
V1 = "/api/v1"
TOKEN = "gw_" + "r" * 43


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass
class RtuWorld:
    """A node whose ingest listens for RTUs."""

    container: Container
    broker: BrokerLogin
    client: TestClient
    ports: Mapping[str, int]

    def add_well(self, code: str, *streams: tuple[str, str]) -> None:
        registers = self.container.registers
        registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
        for name, unit in streams:
            registers.add_datastream(Datastream(code, name, unit), actor="t")

    def connect(self, protocol: str) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.ports[protocol]), timeout=20)

    def get(self, path: str, **parameters: str) -> Any:
        response = self.client.get(f"{V1}{path}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any) -> Any:
        response = self.client.post(f"{V1}{path}", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    def observations(self, datastream: str, **parameters: str) -> list[Any]:
        items: list[Any] = self.get("/observations", datastream=datastream, **parameters)["items"]
        return items

    def quarantine(self) -> list[Any]:
        items: list[Any] = self.get("/quarantine")["items"]
        return items

    def publish(self, account: str, topic: str, *payloads: bytes) -> None:
        """Publish as an account of the broker, whose password is its name doubled."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"device-{uuid.uuid4().hex[:6]}")
        client.username_pw_set(account, account * 2)
        client.connect(self.broker.host, self.broker.port)
        client.loop_start()
        for payload in payloads:
            client.publish(topic, payload, qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Let nobody into this world's own database for a while."""
        import psycopg

        url = self.container.database_url
        server, _, name = url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as administrator:
            administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def running_world(database_url: str, broker: BrokerLogin, home: Path) -> Iterator[RtuWorld]:
    ports = {"sl651": free_port(), "hj212": free_port()}
    settings = Settings(
        home=home,
        database_url=database_url,
        mqtt_url=broker.url,
        mqtt_client_id=f"rtu-{uuid.uuid4().hex[:8]}",
        sl651_listen=f"{LOOPBACK}:{ports['sl651']}",
        hj212_listen=f"{LOOPBACK}:{ports['hj212']}",
    )
    stop = threading.Event()
    with Container(settings) as container:
        container.migrate(lambda _: None)
        container.registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        container.access.add_key(digest_of(TOKEN), TOKEN[:8], "analyst", note="scenario")
        thread = threading.Thread(target=run_ingest, args=(container, stop), daemon=True)
        thread.start()
        try:
            signs = HeartbeatRepository(container.db)
            wait_until(
                lambda: any(row.detail["connected"] for row in signs.recent(timedelta(hours=1))), 20, "ingest is connected"
            )
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with TestClient(create_app(container, listen=False), headers=headers) as client:
                yield RtuWorld(container, broker, client, ports)
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()


def read(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def is_silent(connection: socket.socket, seconds: float = 0.5) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b"?"
    except TimeoutError:
        return True
    finally:
        connection.settimeout(20)
