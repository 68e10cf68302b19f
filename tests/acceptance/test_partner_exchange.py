"""Scenario 24 with the real thing on both sides: two nodes, each a service process of its own, exchange signed CAP in both directions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from domain.errors import ConfigurationError
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.escalating import escalate_answers, escalate_own_answers
from service.settings import Settings
from service.sharing.agreement import Agreement
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


def agreed(house: House, other: str, hours: float) -> None:
    """Both have to answer within so many hours; what is late goes to the county, and after another day to the city."""
    agreement = {**house.container.access.partner(other).agreement, "acknowledge_within_h": hours}  # type: ignore[union-attr]
    house.container.access.upsert_partner(other, other, other, agreement, "agreed in 2026")
    node = house.container.registers.node()
    assert node is not None
    steps = [{"to": "county", "after_h": 0}, {"to": "city", "after_h": 24}]
    house.container.registers.set_node(replace(node, attributes={**node.attributes, "escalation": {"partners": steps}}))
    for body in ("county", "city"):
        hook = Receiver(body, "webhook", {"url": "http://127.0.0.1:1", "escalations": [body]}, matchers={"station": "nobody"})
        house.container.alerts.save_receiver(hook)


def clock_at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(Container, "clock", staticmethod(lambda: moment))


def keys_for(house: House, *receivers: str) -> list[str]:
    return sorted(item.idempotency_key for item in house.container.alerts.notifications() if item.receiver_code in receivers)


def test_an_answer_that_a_partner_owes_is_told_on_by_its_deadline_and_an_answer_ends_it(
    pair: tuple[House, House, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    jiaxing, wujiang, start_wujiang = pair
    agreed(jiaxing, "wujiang", 12.0)
    alert = wangjiangjing_subsides_now(jiaxing)
    now = jiaxing.container.clock()
    assert jiaxing.get("/partner-answers")["items"] == [], "what is not confirmed has not gone out"
    jiaxing.container.engine.confirm(alert, "director", "levelled", now)
    (owed,) = jiaxing.get("/partner-answers")["items"]
    assert (owed["partner"], owed["overdue"], owed["delivered_at"], owed["told"]) == ("wujiang", False, None, None)
    since = datetime.fromisoformat(owed["since"].replace("Z", "+00:00"))
    assert datetime.fromisoformat(owed["due_at"].replace("Z", "+00:00")) == since + timedelta(hours=12)

    start_wujiang()
    assert jiaxing.send(now + timedelta(minutes=1)) == 1
    clock_at(monkeypatch, since + timedelta(hours=11, minutes=59))
    assert escalate_answers(jiaxing.container) == []
    clock_at(monkeypatch, since + timedelta(hours=12, minutes=1))
    assert len(escalate_answers(jiaxing.container)) == 1 and escalate_answers(jiaxing.container) == []
    clock_at(monkeypatch, since + timedelta(hours=37))
    assert len(escalate_answers(jiaxing.container)) == 1 and escalate_answers(jiaxing.container) == []
    assert [key.rpartition(":")[2] for key in keys_for(jiaxing, "county", "city")] == ["city", "county"]
    said = next(item.payload for item in jiaxing.container.alerts.notifications() if item.receiver_code == "city")
    assert "had to acknowledge the orange alert" in said["explanation"]["en"] and "delivered at" in said["explanation"]["en"]
    assert "逾期未答复" in said["headline"]["zh"] and said["partner"] == "wujiang"
    (owed,) = jiaxing.get("/partner-answers")["items"]
    assert owed["told"] == "city" and owed["delivered_at"] is not None
    steps = [step for step in jiaxing.get("/alerts/1")["transitions"] if step["kind"] == "partner_overdue"]
    assert [step["reason"].rpartition(" ")[2] for step in steps] == ["county", "city"]
    agreed(jiaxing, "wujiang", 1e-6)
    assert [item["overdue"] for item in jiaxing.get("/partner-answers?overdue=true")["items"]] == [True]
    assert jiaxing.get("/partner-answers?overdue=false")["items"] == []

    (seen,) = wujiang.get("/foreign-alerts")["items"]
    assert wujiang.ask("POST", f"/foreign-alerts/{seen['id']}/acknowledgement", json={"note": "收到"}).status_code == 200
    assert wujiang.send(since + timedelta(hours=48)) == 1
    assert jiaxing.get("/partner-answers")["items"] == []
    clock_at(monkeypatch, since + timedelta(days=30))
    assert escalate_answers(jiaxing.container) == [] and jiaxing.container.access.verify_audit().ok


def test_our_own_answer_to_a_partner_is_told_on_too_when_nobody_gives_it(
    pair: tuple[House, House, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    jiaxing, wujiang, start_wujiang = pair
    agreed(wujiang, "jiaxing", 12.0)
    now = jiaxing.container.clock()
    jiaxing.container.engine.confirm(wangjiangjing_subsides_now(jiaxing), "director", "levelled", now)
    start_wujiang()
    assert jiaxing.send(now + timedelta(minutes=1)) == 1
    (seen,) = wujiang.get("/foreign-alerts?overdue=false")["items"]
    received = datetime.fromisoformat(seen["received_at"].replace("Z", "+00:00"))
    assert datetime.fromisoformat(seen["answer_due_at"].replace("Z", "+00:00")) == received + timedelta(hours=12)
    assert wujiang.get("/foreign-alerts?overdue=true")["items"] == []
    clock_at(monkeypatch, received + timedelta(hours=11))
    assert escalate_own_answers(wujiang.container) == []
    clock_at(monkeypatch, received + timedelta(hours=13))
    assert len(escalate_own_answers(wujiang.container)) == 1 and escalate_own_answers(wujiang.container) == []
    assert [key.rpartition(":")[2] for key in keys_for(wujiang, "county", "city")] == ["county"]
    assert wujiang.ask("POST", f"/foreign-alerts/{seen['id']}/acknowledgement", json={}).status_code == 200
    clock_at(monkeypatch, received + timedelta(days=9))
    assert escalate_own_answers(wujiang.container) == [] and wujiang.container.access.verify_audit().ok
    assert wujiang.get("/foreign-alerts")["items"][0]["answer_due_at"] is None


@pytest.mark.parametrize("wrong", [0, -1, "12", True, float("nan"), 1e9])
def test_a_time_for_answers_that_is_none_is_refused_with_the_remedy(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="acknowledge_within_h") as refused:
        Agreement.read({"datasets": ["alerts"], "acknowledge_within_h": wrong}, "wujiang")
    assert "hours" in str(refused.value.remedy)
