"""Nothing leaves the house before a named person confirmed it; asked through the API, on the real store, with a real outside receiver."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import numpy as np
import pytest
from lxml import etree

from alerts.cap import parse
from alerts.cap_problems import NAMESPACE
from alerts.defaults import default_rules
from domain.alerting import Receiver
from domain.model import Datastream, Derivation, Disclosure, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import TOKENS

pytestmark = pytest.mark.stack
V1 = "/api/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class City:
    """A city on the real store with an API, staff in the house and a bureau outside of it."""

    def __init__(self, container: Container, server: HTTPServer) -> None:
        self.container, self.server = container, server
        self.numbers = count(1)
        container.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        container.registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
        container.registers.upsert_property(ObservedProperty("displacement_up_rate_12mo", "速率", "rate", "mm/a", "up"))
        for rule in default_rules():
            container.alerts.save_rule(rule, now=container.clock())
        base = f"http://127.0.0.1:{server.server_port}"
        container.alerts.save_receiver(Receiver("staff", "webhook", {"url": f"{base}/staff"}))
        container.alerts.save_receiver(Receiver("bureau", "webhook", {"url": f"{base}/bureau"}, outside=True))
        access = container.access
        access.add_account("supervisor", "Supervisor", "supervisor", None)
        access.add_key(digest_of(TOKENS["supervisor"]), "gw_test", "supervisor", account="supervisor")
        access.add_key(digest_of(TOKENS["nameless"]), "gw_test", "supervisor")
        self.client = TestClient(create_app(container, listen=False), client=("127.0.0.1", 50000))

    def subsides(self, rate: float) -> str:
        """A new mark whose rate is known since yesterday; return the identifier of its alert."""
        registers, code = self.container.registers, f"M{next(self.numbers)}"
        place = Station(
            code,
            StationKind.GNSS_MARK,
            f"点{code}",
            code,
            longitude_deg=120.9456,
            latitude_deg=30.5234,
            disclosure=Disclosure.OPEN,
        )
        registers.add_station(place, actor="test")
        source = registers.add_datastream(Datastream(code, "displacement_up", "mm", interval_s=86400.0), actor="test")
        derivation = Derivation("rate_12mo", "1", {}, "0" * 64, source.datastream_id)
        made = registers.add_datastream(
            Datastream(code, "displacement_up_rate_12mo", "mm/a", derivation=derivation), actor="test"
        )
        at = self.container.clock() - timedelta(days=1)
        time = np.array([at.replace(tzinfo=None)], dtype="datetime64[us]")
        values = columns(made.datastream_id or 0, time, [-rate], sigma=np.array([0.5]), quality=np.array([1]))
        self.container.observations.commit(Batch("file", "test", values))
        with self.container.work.claim("evaluate", 100) as changes:
            self.container.engine.evaluate(changes, self.container.clock())
        (item,) = self.ask("GET", f"/alerts?state=all&station={code}")["items"]
        return str(item["identifier"])

    def ask(self, method: str, path: str, body: Any = None, role: str = "supervisor", status: int = 200) -> Any:
        response = self.client.request(method, V1 + path, headers=bearer(role), json=body)
        assert response.status_code == status, response.text
        return response.json()

    def decide(self, identifier: str, decision: str) -> Any:
        return self.ask("POST", f"/alerts/{identifier}/confirmation", {"decision": decision, "note": "levelling"})

    def feed(self) -> str:
        """All that a partner is told, from the beginning."""
        if self.container.access.partner("310000") is None:
            agreement = {"datasets": ["stations", "datastreams", "observations", "findings", "alerts"], "disclosure": "rounded"}
            self.container.access.upsert_partner("310000", "上海", "Shanghai", agreement, "test")
            self.container.access.add_key(digest_of(TOKENS["partner"]), "gw_test", "partner", partner="310000")
        text, cursor = "", None
        while True:
            page = self.ask("GET", "/shared/changes?limit=1000" + (f"&cursor={cursor}" if cursor else ""), role="partner")
            text += json.dumps(page["items"])
            if not page["items"]:
                return text
            cursor = page["cursor"]

    def told(self, who: str, identifier: str) -> list[dict[str, Any]]:
        """What a receiver was sent of an alert, after the outbox was worked through twice."""
        for _ in range(2):
            self.container.dispatcher.run_once(self.container.clock())
        return [
            body
            for path, body in self.server.got  # type: ignore[attr-defined]
            if path == f"/{who}" and body["alert"]["identifier"] == identifier
        ]


@pytest.fixture(scope="module")
def city(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url, mqtt_url="mqtt://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), _Handler) as server, Container(settings) as container:
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            made = City(container, server)
            with made.client:
                yield made
        finally:
            server.shutdown()
            thread.join()


def cap(body: dict[str, Any], field: str) -> str:
    found = parse(body["cap"].encode()).findtext(f"{{{NAMESPACE}}}{field}")
    assert found is not None
    return str(found)


def kinds(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["message_type"] for body in bodies]


def test_an_orange_alert_leaves_once_after_a_named_person_confirmed_it(city: City) -> None:
    identifier = city.subsides(25.0)
    shown = city.ask("GET", f"/alerts/{identifier}")
    assert (shown["level_word"], shown["confirmation"], shown["cap"]) == ("orange", "awaited", None)
    assert city.told("bureau", identifier) == []
    assert city.told("staff", identifier) == []
    city.ask("POST", f"/alerts/{identifier}/confirmation", {"decision": "confirmed"}, role="nameless", status=403)
    assert city.told("bureau", identifier) == []

    confirmed = city.decide(identifier, "confirmed")
    assert (confirmed["confirmation"], confirmed["confirmed_by"]) == ("confirmed", "supervisor")
    (message,) = city.told("bureau", identifier)
    assert kinds([message]) == ["Alert"]
    assert cap(message, "msgType") == "Alert"
    assert etree.fromstring(message["cap"].encode()).findtext(f".//{{{NAMESPACE}}}severity") == "Severe"
    assert "supervisor" in message["explanation"]["zh"]
    city.decide(identifier, "confirmed")
    assert kinds(city.told("bureau", identifier)) == ["Alert"]
    assert kinds(city.told("staff", identifier)) == ["Alert"]


def test_a_rejected_alert_never_leaves(city: City) -> None:
    identifier = city.subsides(25.0)
    rejected = city.decide(identifier, "rejected")
    assert (rejected["state"], rejected["confirmation"]) == ("resolved", "rejected")
    assert city.told("bureau", identifier) == []
    assert city.told("staff", identifier) == []


def test_a_yellow_alert_tells_staff_at_once_and_a_rejection_cancels_there_alone(city: City) -> None:
    identifier = city.subsides(15.0)
    assert kinds(city.told("staff", identifier)) == ["Alert"]
    assert city.told("bureau", identifier) == []
    city.decide(identifier, "rejected")
    assert kinds(city.told("staff", identifier)) == ["Alert", "Cancel"]
    assert city.told("bureau", identifier) == []


def test_what_was_confirmed_and_then_found_false_is_cancelled_with_its_references(city: City) -> None:
    identifier = city.subsides(35.0)
    city.decide(identifier, "confirmed")
    (alert,) = city.told("bureau", identifier)
    city.decide(identifier, "rejected")
    _, cancel = city.told("bureau", identifier)
    assert cap(cancel, "msgType") == "Cancel"
    assert cap(cancel, "references") == f"{alert['sender']},{alert['identifier']},{cap(alert, 'sent')}"
    assert kinds(city.told("bureau", identifier)) == ["Alert", "Cancel"]
    city.ask("POST", f"/alerts/{identifier}/confirmation", {"decision": "confirmed"}, status=409)


def test_an_alert_that_need_not_wait_reaches_partners_only_after_a_person_confirmed_it(city: City) -> None:
    city.container.alerts.save_receiver(
        Receiver("bureau", "webhook", {"url": "http://127.0.0.1:9/"}, outside=True, enabled=False)
    )
    identifier = city.subsides(6.0)
    assert city.ask("GET", f"/alerts/{identifier}")["confirmation"] == "not_needed"
    assert identifier not in city.feed()
    assert city.decide(identifier, "confirmed")["confirmation"] == "confirmed"
    assert identifier in city.feed()
    assert city.decide(identifier, "rejected")["confirmation"] == "rejected"
    assert identifier in city.feed(), "a partner that was told must learn of the cancellation"
