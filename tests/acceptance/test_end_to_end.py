"""From a device's message to a partner's feed, through real processes: ingest, worker, broker, database, webhook and API."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
from lxml import etree
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.configuration import apply_folder
from service.settings import Settings
from tests.conftest import BrokerLogin
from tests.service.api.client import TestClient
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "jiaxing"
V1 = "/api/v1"
QUICK = ("JX-OW03", "JX-OW06", "JX-OW07", "JX-OW09", "JX-OW10")
ORANGE, SILENT = "JX-OW01", "JX-OW04"
PARTNER = "320000"
"""Its agreement covers region 330411, where JX-OW01 is."""
SECRETS = {"staff": "of the staff", "bureau": "of the bureau"}
PASSWORD = "correct horse battery"
POLL_OF_THE_WORKER_S = 1.0

RULES = """
defaults: true
rules:
  - code: deep
    kind: threshold
    name_zh: 水位埋深（测试）
    name_en: Depth to water (test)
    source: the test
    scope: {property: depth_to_water, derived: false}
    quantity: value
    unit: m
    levels: {yellow: 40, orange: 50}
    deadband: 0.2
    action: &action {owner_zh: 水利部门, owner_en: water bureau, text_zh: 核查, text_en: inspect}
  - code: stopped
    kind: silence
    name_zh: 停报（测试）
    name_en: Stopped (test)
    source: the test
    scope: {datastream: "JX-OW04:depth_to_water"}
    levels: {blue: 3}
    expected: PT1S
    action: *action
"""
RECEIVERS = """
receivers:
  - {code: staff, kind: webhook, settings: {url: "%(url)s/staff", secret: staff}}
  - {code: bureau, kind: webhook, settings: {url: "%(url)s/bureau", secret: bureau}, outside: true}
"""


@dataclass(frozen=True)
class Post:
    """One request that the webhook's receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes
    answer: int

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Receiver:
    """A webhook's receiver that is out of order for the very first request."""

    posts: list[Post] = field(default_factory=list)
    url: str = ""

    def delivered(self, path: str, identifier: str) -> list[Post]:
        return [p for p in self.posts if p.path == path and p.answer == 204 and identifier in p.body.decode()]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = 204 if receiver.posts else 503
            receiver.posts.append(Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body, answer))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@contextmanager
def process(command: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a part of GroundWatch as it is deployed; it must end in order when told to."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [str(Path(sys.executable).parent / "groundwatch"), command],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
        assert running.poll() is None, log.read_text(encoding="utf-8")
        running.terminate()
        assert running.wait(timeout=30) == 0, log.read_text(encoding="utf-8")
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


class Device:
    """A station's device with credentials of its own."""

    def __init__(self, broker: BrokerLogin, station: str) -> None:
        self.station = station
        password = uuid.uuid4().hex
        broker.stack.add_device(station, password)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(station, password)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        wait_until(self._client.is_connected, 10, f"the broker takes {station} in")

    def send(self, depth_m: float, at: datetime, station: str | None = None) -> None:
        body = json.dumps({"t": at.isoformat(), "depth_to_water": depth_m})
        self._client.publish(f"gw/v1/stations/{station or self.station}/obs", body, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class World:
    """The running service as its people, devices and partners see it."""

    database_url: str
    container: Container
    api: TestClient
    receiver: Receiver
    devices: dict[str, Device]
    tokens: dict[str, str]

    def get(self, path: str, who: str = "supervisor") -> Any:
        response = self.api.get(f"{V1}{path}", headers=self.bearer(who))
        assert response.status_code == 200, response.text
        return response.json()

    def bearer(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}

    def post(self, path: str, body: dict[str, Any], who: str = "supervisor") -> Any:
        return self.api.post(f"{V1}{path}", json=body, headers=self.bearer(who))

    def result(self, station: str, at: datetime) -> float | None:
        stamp = f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
        answer = self.get(f"/observations?datastream={station}:depth_to_water&from={stamp}&limit=1")
        return answer["items"][0]["result"] if answer["items"] else None

    def alert(self, rule: str, scope: str) -> dict[str, Any] | None:
        found = [
            item for item in self.get("/alerts?state=all&limit=1000")["items"] if (item["rule"], item["scope"]) == (rule, scope)
        ]
        assert len(found) <= 1, "one episode must be one alert"
        return found[0] if found else None

    def seconds_from_commit(self, alert: dict[str, Any]) -> float:
        """Return the time from the commit of the batch that broke the limit to the opening of the alert."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT extract(epoch FROM a.opened_at - b.committed_at)::float8 FROM alert a"
                " JOIN observation o ON o.datastream_id = a.datastream_id AND o.phenomenon_time = a.onset"
                " JOIN ingest_batch b ON b.id = o.batch_id WHERE a.identifier = %s",
                [alert["identifier"]],
            ).fetchone()
        assert row is not None
        return float(row[0])


def city(target: Path, url: str) -> Path:
    """Return a copy of Jiaxing's folder with the rules and receivers of this test."""
    shutil.copytree(FOLDER, target)
    (target / "rules.yaml").write_text(RULES, encoding="utf-8")
    (target / "receivers.yaml").write_text(RECEIVERS % {"url": url}, encoding="utf-8")
    return target


def add_people(container: Container, api: TestClient) -> dict[str, str]:
    container.add_account("li.ming", "李明", "supervisor", PASSWORD)
    login = api.post(f"{V1}/login", json={"name": "li.ming", "password": PASSWORD})
    assert login.status_code == 200, login.text
    tokens = {"supervisor": login.json()["token"], "partner": "gw_partner_of_the_test", "nameless": "gw_key_of_a_machine"}
    container.access.add_key(digest_of(tokens["partner"]), "gw_test", "partner", partner=PARTNER)
    container.access.add_key(digest_of(tokens["nameless"]), "gw_test", "supervisor")
    return tokens


@pytest.fixture(scope="module")
def world(database_url: str, broker: BrokerLogin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    (home / "receiver-secrets.toml").write_text("".join(f'{name} = "{key}"\n' for name, key in SECRETS.items()), encoding="utf-8")
    environment = {
        "GROUNDWATCH_HOME": str(home),
        "GROUNDWATCH_DATABASE_URL": database_url,
        "GROUNDWATCH_MQTT_URL": broker.url,
        "GROUNDWATCH_MQTT_CLIENT_ID": f"ingest-{uuid.uuid4().hex[:8]}",
        "GROUNDWATCH_TICK_EVERY_S": "0.5",
        "GROUNDWATCH_ANALYSE_EVERY_S": "3600",
    }
    with receiving() as receiver, Container(Settings(home, database_url, broker.url, minimum_free_bytes=1)) as container:
        apply_folder(city(home / "city", receiver.url), container.registers, container.alerts, container.access, "tester")
        with (
            TestClient(create_app(container, listen=False), client=("127.0.0.1", 50000)) as api,
            process("ingest", environment, home / "ingest.log"),
            process("worker", environment, home / "worker.log"),
        ):
            devices = {station: Device(broker, station) for station in (*QUICK, ORANGE, SILENT)}
            made = World(database_url, container, api, receiver, devices, add_people(container, api))
            first = datetime.now(UTC) - timedelta(hours=1)
            for station in (*QUICK, ORANGE):
                make_sure(made, station, first)
            wait_until(lambda: container.work.pending("evaluate").count == 0, 60, "the worker evaluates")
            yield made
            for device in devices.values():
                device.close()


def make_sure(world: World, station: str, at: datetime) -> None:
    """Send a harmless first observation until it is stored: the subscription begins some time after the processes."""

    def sent_and_stored() -> bool:
        world.devices[station].send(20.0, at)
        return bool(eventually(lambda: world.result(station, at) == 20.0, 2.0))

    wait_until(sent_and_stored, 60, f"the first observation of {station}")


def eventually(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def breach(world: World, station: str, depth_m: float) -> dict[str, Any]:
    """Send a breaching observation and return its alert."""
    at = datetime.now(UTC)
    world.devices[station].send(depth_m, at)
    alert = wait_until(lambda: world.alert("deep", f"{station}:depth_to_water"), 30, f"the alert of {station}")
    assert world.result(station, at) == depth_m
    assert alert["value"] == depth_m
    return alert


@pytest.fixture(scope="module")
def quick(world: World) -> list[dict[str, Any]]:
    """Yellow alerts, one after another."""
    return [breach(world, station, 45.0 + number / 8) for number, station in enumerate(QUICK)]


@pytest.fixture(scope="module")
def orange(world: World) -> dict[str, Any]:
    """An alert that waits for a person, as it stood when it was opened."""
    return breach(world, ORANGE, 55.25)


def test_a_breach_fires_within_a_second_of_its_commit(world: World, quick: list[dict[str, Any]]) -> None:
    assert [(alert["state"], alert["level_word"]) for alert in quick] == [("firing", "yellow")] * len(QUICK)
    delays = [world.seconds_from_commit(alert) for alert in quick]
    assert all(0.0 <= delay < 1.0 for delay in delays), delays
    # Each breach was sent just after the evaluation of the one before it: a worker that only polled would take the whole poll.
    assert statistics.median(delays) < POLL_OF_THE_WORKER_S / 2, delays


def test_the_webhook_gets_each_alert_once_signed_and_with_its_key(world: World, quick: list[dict[str, Any]]) -> None:
    for alert in quick:
        delivered = wait_until(lambda alert=alert: world.receiver.delivered("/staff", alert["identifier"]), 60, "the delivery")
        assert len(delivered) == 1
        key = delivered[0].headers["idempotency-key"]
        assert key.endswith(":staff")
        assert delivered[0].json["idempotency_key"] == key
    for post in world.receiver.posts:
        secret = SECRETS[post.path.removeprefix("/")]
        expected = "sha256=" + hmac.new(secret.encode(), post.body, hashlib.sha256).hexdigest()
        assert post.headers["x-groundwatch-signature"] == expected
    keys = [post.headers["idempotency-key"] for post in world.receiver.posts if post.answer == 204]
    assert len(set(keys)) == len(keys)
    refused = [post for post in world.receiver.posts if post.answer == 503]
    again = [post for post in world.receiver.posts if post.headers["idempotency-key"] == refused[0].headers["idempotency-key"]]
    assert [post.answer for post in again] == [503, 204]
    assert [post.json.get("replay", False) for post in again] == [False, True]
    assert {**again[0].json, "replay": True} == again[1].json


def test_an_orange_alert_waits_for_a_named_person_and_then_goes_out(world: World, orange: dict[str, Any]) -> None:
    identifier = orange["identifier"]
    assert (orange["state"], orange["level_word"], orange["confirmation"]) == ("firing", "orange", "awaited")
    assert shared_alerts(world, identifier) == []
    assert world.receiver.delivered("/bureau", identifier) == []

    acknowledged = world.post(f"/alerts/{orange['id']}/acknowledgement", {"note": "已电话核实"})
    assert acknowledged.status_code == 200, acknowledged.text
    assert (acknowledged.json()["acknowledged_by"], acknowledged.json()["acknowledged_note"]) == ("li.ming", "已电话核实")
    assert shared_alerts(world, identifier) == []

    decision = {"decision": "confirmed", "note": "复测属实"}
    assert world.post(f"/alerts/{orange['id']}/confirmation", decision, who="nameless").status_code == 403
    confirmed = world.post(f"/alerts/{orange['id']}/confirmation", decision)
    assert confirmed.status_code == 200, confirmed.text
    assert (confirmed.json()["confirmation"], confirmed.json()["confirmed_by"]) == ("confirmed", "li.ming")
    for path in ("/staff", "/bureau"):
        wait_until(lambda path=path: world.receiver.delivered(path, identifier), 60, f"the delivery to {path}")
    shared = shared_alerts(world, identifier)
    assert shared
    assert {item["alert"]["confirmation"] for item in shared} == {"confirmed"}
    assert shared[-1]["alert"]["evidence"]["value"] == 55.25


def shared_alerts(world: World, identifier: str) -> list[dict[str, Any]]:
    """Return the entries on an alert in the partner's feed, read from its beginning page by page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = world.get("/shared/changes" + (f"?cursor={cursor}" if cursor else ""), who="partner")
        items += page["items"]
        cursor = page["cursor"]
        if not page["more"]:
            return [item for item in items if item["kind"] == "alert" and item["alert"]["identifier"] == identifier]


def test_the_partner_reads_the_observation_of_its_border_region_and_no_other(world: World, orange: dict[str, Any]) -> None:
    items = world.get("/shared/changes?limit=10000", who="partner")["items"]
    observed = {item["datastream"] for item in items if item["kind"] == "observations"}
    assert f"{ORANGE}:depth_to_water" in observed
    assert not observed & {f"{station}:depth_to_water" for station in QUICK}
    del orange


def test_the_cap_messages_are_valid_by_the_oasis_schema(world: World, quick: list[dict[str, Any]], shared_data: Path) -> None:
    schema = etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd")))
    for alert in quick:
        response = world.api.get(f"{V1}/alerts/{alert['identifier']}.cap", headers=world.bearer("supervisor"))
        assert response.status_code == 200, response.text
        root = etree.fromstring(response.content)
        assert schema.validate(root), schema.error_log
        assert root.findtext("{*}identifier") is not None
        assert root.findtext("{*}info/{*}severity") == "Moderate"


def test_a_station_that_stopped_is_reported_in_the_house(world: World) -> None:
    at = datetime.now(UTC)
    world.devices[SILENT].send(20.5, at)
    wait_until(lambda: world.result(SILENT, at) == 20.5, 30, "the last observation")
    alert = wait_until(
        lambda: (found := world.alert("stopped", SILENT)) is not None and found["state"] == "firing" and found, 30, "the alert"
    )
    assert (alert["level_word"], alert["confirmation"]) == ("blue", "not_needed")
    wait_until(lambda: world.receiver.delivered("/staff", alert["identifier"]), 60, "the delivery")
    assert world.receiver.delivered("/bureau", alert["identifier"]) == []


def test_a_device_cannot_speak_for_another_station(world: World) -> None:
    forged = datetime.now(UTC) - timedelta(minutes=30)
    own = forged + timedelta(minutes=1)
    device = world.devices[QUICK[0]]
    device.send(99.0, forged, station=QUICK[1])
    device.send(21.0, own)
    wait_until(lambda: world.result(QUICK[0], own) == 21.0, 30, "the device's own observation")
    assert world.result(QUICK[1], forged) != 99.0
