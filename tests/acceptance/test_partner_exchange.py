"""Scenario 24 with the real thing on both sides: two nodes, each a service process of its own, exchange signed CAP in both directions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lxml import etree

from alerts.cap_problems import NAMESPACE, problems
from alerts.defaults import default_rules
from alerts.dispatch import Dispatcher
from alerts.notifiers import NotifierSettings, build
from domain.alerting import Receiver
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node
from tests.acceptance.test_scenario_24 import free_port, wangjiangjing_subsides
from tests.conftest import _fresh_database
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
Q = f"{{{NAMESPACE}}}"
PASSWORD = "correct horse battery"
SENDERS = {"jiaxing": "jiaxing.groundwatch.invalid", "wujiang": "wujiang.groundwatch.invalid"}
REGIONS = {"jiaxing": "330400", "wujiang": "320509"}
SECRET = "agreed between the two"


@dataclass
class House:
    """One node: its container here, its service in a process of its own, and a person who is logged in."""

    container: Container
    url: str
    name: str
    token: str = ""

    def ask(self, method: str, path: str, **named: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **named.pop("headers", {})}
        return httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, trust_env=False, timeout=20, **named)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, at: datetime | None = None) -> int:
        """Run the dispatcher at a time."""
        notifiers = build(NotifierSettings("test", secrets={"pair": SECRET, "key": partner_key(self.name)}, timeout_s=5.0))
        try:
            return (
                Dispatcher(self.container.alerts, notifiers, np.random.default_rng(1)).run_once(at or self.container.clock()).sent
            )
        finally:
            for notifier in notifiers.values():
                notifier.close()


def partner_key(owner: str) -> str:
    """The key that `owner` has at the other node; each dispatcher finds it under the name `key`."""
    return f"key-of-{owner}-elsewhere"


@contextmanager
def serving(database_url: str, home: Path, port: int) -> Iterator[None]:
    environment = {
        **os.environ,
        "GROUNDWATCH_HOME": str(home),
        "GROUNDWATCH_DATABASE_URL": database_url,
        "GROUNDWATCH_SECRET_PAIR": SECRET,
    }
    log = (home / "serve.log").open("ab")
    running = subprocess.Popen(
        [str(Path(sys.executable).parent / "groundwatch"), "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)
        log.close()


@pytest.fixture
def pair(server_url: str, template_database: str, tmp_path: Path) -> Iterator[tuple[House, House, Callable[[], Any]]]:
    """Jiaxing and Wujiang; Wujiang's service is started by the last of the three."""
    with ExitStack() as stack:
        houses = {}
        ports = {name: free_port() for name in SENDERS}
        for name, other in (("jiaxing", "wujiang"), ("wujiang", "jiaxing")):
            url = next(made := _fresh_database(server_url, template_database))
            stack.callback(next, made, None)
            home = tmp_path / name
            home.mkdir()
            settings = Settings(home=home, database_url=url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)
            container = stack.enter_context(Container(settings))
            cap = {"sender": SENDERS[name], "sender_name": name}
            container.registers.set_node(Node(name, name, name, REGIONS[name], attributes={"cap": cap}))
            for rule in default_rules():
                container.alerts.save_rule(rule, now=container.clock())
            container.add_account("director", "主任", "supervisor", PASSWORD)
            agreement = {"datasets": ["alerts"], "senders": [SENDERS[other]], "signature": "pair", "reply_to": other}
            container.access.upsert_partner(other, other, other, agreement, "agreed in 2026")
            container.access.add_key(digest_of(partner_key(other)), "k", "partner", partner=other)
            target = f"http://127.0.0.1:{ports[other]}/api/v1/shared/alerts"
            container.alerts.save_receiver(
                Receiver(other, "webhook", {"url": target, "secret": "pair", "token": "key", "format": "cap"}, outside=True)
            )
            houses[name] = House(container, f"http://127.0.0.1:{ports[name]}", name)

        def start(name: str) -> None:
            house = houses[name]
            stack.enter_context(serving(house.container.settings.database_url or "", house.container.settings.home, ports[name]))
            wait_until(lambda: _answers(house.url), 60, f"the service of {name}")
            answer = httpx.post(
                f"{house.url}/api/v1/login", json={"name": "director", "password": PASSWORD}, trust_env=False, timeout=20
            )
            house.token = answer.json()["token"]

        start("jiaxing")
        yield houses["jiaxing"], houses["wujiang"], lambda: start("wujiang")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_an_alert_crosses_the_border_once_and_its_acknowledgement_comes_back(
    pair: tuple[House, House, Callable[[], Any]], shared_data: Path
) -> None:
    jiaxing, wujiang, start_wujiang = pair
    alert = wangjiangjing_subsides_now(jiaxing)
    now = jiaxing.container.clock()
    jiaxing.container.engine.confirm(alert, "director", "levelled", now)
    assert [jiaxing.send(now + timedelta(minutes=10 * n)) for n in range(12)] == [0] * 12, "Wujiang is down for two hours"
    start_wujiang()
    assert jiaxing.send(now + timedelta(hours=4)) == 1 and jiaxing.send(now + timedelta(hours=5)) == 0

    (seen,) = wujiang.get("/foreign-alerts")["items"]
    assert (seen["sender"], seen["level_word"], seen["state"]) == (SENDERS["jiaxing"], "orange", "active")
    assert "王江泾一号" in seen["headline"]["zh"] and "Wangjiangjing" in seen["headline"]["en"] and not seen["acknowledged"]
    assert wujiang.get("/alerts?state=all")["items"] == [], "a partner's alert is no alert of ours"
    assert "<entry>" not in wujiang.ask("GET", "/alerts/feed.atom").text, "it is not sent on"
    assert wujiang.container.alerts.notifications() == []

    answer = wujiang.ask("POST", f"/foreign-alerts/{seen['id']}/acknowledgement", json={"note": "派人核查"})
    assert answer.status_code == 200 and answer.json()["acknowledged_by"] == "director"
    assert wujiang.ask("POST", f"/foreign-alerts/{seen['id']}/acknowledgement", json={}).status_code == 409
    (own,) = answer.json()["acknowledgements"]
    ack = wujiang.ask("GET", f"/foreign-alerts/{seen['id']}/messages/{own['identifier']}.cap").content
    root = etree.fromstring(ack)
    assert etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd"))).validate(root) and problems(root) == []
    assert root.findtext(f"{Q}msgType") == "Ack" and "派人核查" in (root.findtext(f"{Q}note") or "")
    assert (root.findtext(f"{Q}references") or "").split()[0].split(",")[1] == seen["identifier"]
    assert len(own["identifier"]) == 31 and own["identifier"].startswith("320509")

    assert wujiang.send() == 1
    steps = jiaxing.get("/alerts/1")["transitions"]
    (told,) = [step for step in steps if step["kind"] == "partner_acknowledged"]
    assert told["actor"] == "partner wujiang" and "派人核查" in told["reason"]
    assert jiaxing.get("/alerts/1")["acknowledged_by"] is None, "somebody here still has to take notice"
    assert jiaxing.container.access.verify_audit().ok and wujiang.container.access.verify_audit().ok


def wangjiangjing_subsides_now(house: House) -> int:
    return wangjiangjing_subsides(house.container, 22.0).alert_id or 0  # type: ignore[arg-type]
