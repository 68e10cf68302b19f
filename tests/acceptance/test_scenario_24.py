"""Scenario 24: an alert at the border reaches the neighbour as valid CAP, once, after two hours without an answer; nobody forgets it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from alerts.cap_problems import NAMESPACE, problems
from alerts.defaults import default_rules
from alerts.dispatch import Dispatcher
from alerts.notifiers import NotifierSettings, build
from domain.alerting import AlertRecord, Receiver
from domain.model import Datastream, Derivation, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.escalating import escalate_alerts
from service.settings import Settings
from storage.register_rows import Node
from tests.acceptance.partner_process import SECRET
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
NOW = datetime(2026, 3, 2, 1, tzinfo=UTC)


class Clocked(Container):
    """The container with a clock that the test turns."""

    moment = NOW

    def clock(self) -> datetime:  # type: ignore[override]
        return self.moment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def partner(port: int, schema: Path, journal: Path) -> Iterator[None]:
    script = Path(__file__).with_name("partner_process.py")
    process = subprocess.Popen([sys.executable, str(script), str(port), str(schema), str(journal)])
    try:
        wait_until(lambda: _answers(port), 20, "the partner's process")
        yield
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def house(own_database_url: str, tmp_path: Path) -> Iterator[Clocked]:
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)
    with Clocked(settings) as container:
        escalation = {"source": "test", "acknowledgement": [{"to": "county", "after_h": 2}, {"to": "city", "after_h": 12}]}
        cap = {"sender": "jiaxing.groundwatch.invalid", "sender_name": "嘉兴市自然资源和规划局"}
        container.registers.set_node(
            Node("jiaxing", "嘉兴", "Jiaxing", "330400", attributes={"cap": cap, "escalation": escalation})
        )
        for rule in default_rules():
            container.alerts.save_rule(rule, now=container.clock())
        yield container


def wangjiangjing_subsides(house: Clocked, rate: float) -> AlertRecord:
    """A mark of the funnel at the border whose rate is known since yesterday."""
    registers = house.registers
    registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
    registers.upsert_property(ObservedProperty("displacement_up_rate_12mo", "速率", "rate", "mm/a", "up"))
    place = Station(
        "WJJ01",
        StationKind.GNSS_MARK,
        "王江泾一号",
        "Wangjiangjing 1",
        region_code="330411",
        longitude_deg=120.71,
        latitude_deg=30.88,
    )
    registers.add_station(place, actor="test")
    source = registers.add_datastream(
        Datastream("WJJ01", "displacement_up", "mm", interval_s=86400.0, datum_code=None, frame="IGS14"), actor="test"
    )
    derivation = Derivation("rate_12mo", "1", {}, "0" * 64, source.datastream_id)
    made = registers.add_datastream(Datastream("WJJ01", "displacement_up_rate_12mo", "mm/a", derivation=derivation), actor="test")
    time = np.array([(NOW - timedelta(days=1)).replace(tzinfo=None)], dtype="datetime64[us]")
    rows = columns(made.datastream_id or 0, time, [-rate], sigma=np.array([0.5]), quality=np.array([1]))
    house.observations.commit(Batch("file", "test", rows, received_at=NOW))
    with house.work.claim("evaluate", 100) as changes:
        house.engine.evaluate(changes, NOW)
    found = house.alerts.find_alert(1)
    assert found is not None
    return found


def send(house: Clocked, at: datetime) -> int:
    """Run the dispatcher at a time that the test chooses, so that two hours pass in a moment."""
    notifiers = build(NotifierSettings("jiaxing", secrets={"wujiang": SECRET.decode()}, timeout_s=2.0))
    house.moment = at
    return Dispatcher(house.alerts, notifiers, np.random.default_rng(24)).run_once(at).sent


def test_the_neighbour_gets_one_valid_signed_message_after_two_hours_of_silence(
    house: Clocked, shared_data: Path, tmp_path: Path
) -> None:
    port, journal = free_port(), tmp_path / "journal.jsonl"
    settings = {"url": f"http://127.0.0.1:{port}/alerts", "secret": "wujiang"}
    house.alerts.save_receiver(Receiver("wujiang", "webhook", settings, outside=True))
    alert = wangjiangjing_subsides(house, 22.0)
    assert send(house, NOW + timedelta(seconds=5)) == 0, "it left the house before a person confirmed it"
    house.engine.confirm(alert.alert_id or 0, "director", "levelled", NOW + timedelta(minutes=1))

    tries = [NOW + timedelta(minutes=2 + 10 * n) for n in range(12)]
    assert [send(house, at) for at in tries] == [0] * 12
    (waiting,) = house.alerts.waiting("wujiang")
    assert waiting.attempts >= 3 and waiting.last_error
    with partner(port, shared_data / "cap" / "cap12.xsd", journal):
        assert send(house, NOW + timedelta(hours=4)) == 1
        assert send(house, NOW + timedelta(hours=5)) == 0
    (told,) = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert told["valid"] and told["signed"] and told["acted"]

    root = etree.fromstring(told["cap"].encode())
    assert problems(root) == []
    said = {child.tag.removeprefix(f"{{{NAMESPACE}}}"): child.text for child in root.iter() if child.text and child.text.strip()}
    assert len(said["identifier"]) == 31 and said["identifier"].startswith("330400")
    assert (said["msgType"], said["status"], said["scope"], said["severity"]) == ("Alert", "Actual", "Restricted", "Severe")
    assert said["polygon" if "polygon" in said else "circle"]
    assert "22" in told["cap"] and "mm" in told["cap"] and "20" in told["cap"]


def test_a_lost_answer_is_sent_again_under_its_key_and_acted_on_once(house: Clocked, shared_data: Path, tmp_path: Path) -> None:
    port, journal = free_port(), tmp_path / "journal.jsonl"
    house.alerts.save_receiver(
        Receiver("wujiang", "webhook", {"url": f"http://127.0.0.1:{port}/", "secret": "wujiang"}, outside=True)
    )
    alert = wangjiangjing_subsides(house, 22.0)
    house.engine.confirm(alert.alert_id or 0, "director", "levelled", NOW + timedelta(minutes=1))
    with partner(port, shared_data / "cap" / "cap12.xsd", journal):
        (item,) = house.alerts.waiting("wujiang")
        assert send(house, NOW + timedelta(minutes=2)) == 1
        house.alerts.mark_dead(item.notification_id or 0, "the answer was lost")
        house.alerts.revive(item.notification_id or 0, NOW + timedelta(minutes=3))
        assert send(house, NOW + timedelta(minutes=4)) == 1
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert [line["acted"] for line in lines] == [True, False] and lines[0]["key"] == lines[1]["key"]
    assert lines[0]["cap"] == lines[1]["cap"]


def test_an_overdue_acknowledgement_is_told_to_county_and_city(house: Clocked) -> None:
    house.alerts.save_receiver(Receiver("county", "webhook", {"url": "http://127.0.0.1:1/", "escalations": ["county"]}))
    house.alerts.save_receiver(Receiver("city", "webhook", {"url": "http://127.0.0.1:1/", "escalations": ["city"]}))
    alert = wangjiangjing_subsides(house, 22.0)
    house.engine.confirm(alert.alert_id or 0, "director", "levelled", NOW + timedelta(minutes=1))
    told = []
    for hours in (1, 3, 13, 14):
        house.moment = NOW + timedelta(hours=hours)
        told.append([item.memory["escalated_to"] for item in escalate_alerts(house)])
    assert told == [[], ["county"], ["city"], []]
    escalations = [item for item in house.alerts.notifications(limit=100) if item.payload.get("kind") == "escalation"]
    assert sorted((item.receiver_code, item.payload["escalated_to"]) for item in escalations) == [
        ("city", "city"),
        ("county", "county"),
    ]
    assert all("<alert" in item.payload["cap"] for item in escalations)
    assert house.access.verify_audit().ok
    assert [entry.action for entry in house.access.audit_entries(0, 100)].count("alert escalated") == 2
