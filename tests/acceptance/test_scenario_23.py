"""Scenario 23 on the real stack: dithering, corrections, falsehood and exercises; and what may not become a colour (3 and 5)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from lxml import etree

from alerts.cap_problems import NAMESPACE
from alerts.defaults import default_rules
from alerts.dispatch import Dispatcher
from alerts.notifiers import NotifierSettings, build
from domain.alert import AlertState, Confirmation, Level
from domain.alerting import Receiver
from domain.model import Datastream, ObservedProperty
from storage.database import Database
from storage.register_rows import Node
from tests.alerts.test_engine_on_the_store import Stack, now_at

pytestmark = pytest.mark.stack


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def telephone() -> Iterator[HTTPServer]:
    """Where staff and the drill's partner are told, on loopback."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def world(database_url: str, telephone: HTTPServer) -> Iterator[Stack]:
    """The default rules, and staff who are paged from blue on."""
    with Database(database_url, max_size=8) as database:
        stack = Stack(database)
        stack.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        stack.registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
        stack.registers.upsert_property(ObservedProperty("displacement_up_rate_12mo", "速率", "rate", "mm/a", "up"))
        for rule in default_rules():
            stack.alerts.save_rule(rule, now=now_at(0))
        base = f"http://127.0.0.1:{telephone.server_port}"
        stack.alerts.save_receiver(Receiver("staff", "webhook", {"url": f"{base}/staff"}))
        stack.alerts.save_receiver(Receiver("drill", "webhook", {"url": f"{base}/drill"}, matchers={"status": "Exercise"}))
        yield stack


def only_alert(world: Stack, datastream: Datastream):
    (alert,) = world.alerts_on(datastream)
    return alert


def send(world: Stack, day: float) -> None:
    notifiers = build(NotifierSettings("jiaxing", timeout_s=5.0))
    Dispatcher(world.alerts, notifiers, np.random.default_rng(0)).run_once(now_at(day))
    for notifier in notifiers.values():
        notifier.close()


def told(telephone: HTTPServer, path: str, datastream: Datastream) -> list[str]:
    return [
        body["message_type"]
        for where, body in telephone.got  # type: ignore[attr-defined]
        if where == path and body["alert"]["datastream"] == datastream.code
    ]


def test_a_rate_that_dithers_is_one_alert_then_corrected_then_found_false(world: Stack, telephone: HTTPServer) -> None:
    datastream = world.rate()
    runs = [10.2, 9.8, 10.2, 9.8, 10.2, 9.8]
    for month, rate in enumerate(runs):  # one analysis a month
        world.engine.evaluate([world.put(datastream, [(30.0 * month, -rate)], sigma=0.1)], now_at(30.0 * month + 0.1))
    alert = only_alert(world, datastream)
    assert (alert.state, alert.level) == (AlertState.FIRING, Level.YELLOW)
    assert [item.message_type.value for item in world.alerts.cap_messages(alert.alert_id)] == ["Alert"]

    lower = [(30.0 * month, -7.0) for month in range(len(runs))]
    world.engine.evaluate([world.put(datastream, lower, sigma=0.1)], now_at(200))
    alert = only_alert(world, datastream)
    assert (alert.state, alert.level) == (AlertState.FIRING, Level.BLUE)
    first, update = world.alerts.cap_messages(alert.alert_id)
    assert update.message_type == "Update"
    reference = etree.fromstring(update.body.encode()).findtext(f"{{{NAMESPACE}}}references", "")
    assert reference.startswith(f"{first.sender},{first.identifier},")

    nothing = [(30.0 * month, -1.0) for month in range(len(runs))]
    world.engine.evaluate([world.put(datastream, nothing, sigma=0.1)], now_at(210))
    alert = only_alert(world, datastream)
    assert alert.state is AlertState.RESOLVED
    assert [item.message_type.value for item in world.alerts.cap_messages(alert.alert_id)] == ["Alert", "Update", "Cancel"]

    send(world, 211)
    send(world, 212)
    assert told(telephone, "/staff", datastream) == ["Alert", "Update", "Cancel"]
    assert told(telephone, "/drill", datastream) == []


def test_an_exercise_pages_no_staff_and_enters_no_statistics(world: Stack, telephone: HTTPServer) -> None:
    from alerts.store import AlertFilter

    datastream = world.rate()
    world.put(datastream, [(0, -1.0)])
    drill = world.engine.exercise("subsidence-rate-12mo", datastream.code, Level.RED, "王工", now_at(220))
    send(world, 221)
    assert told(telephone, "/drill", datastream) == ["Alert"]
    assert told(telephone, "/staff", datastream) == []
    counted = world.alerts.list_alerts(
        AlertFilter(states=(AlertState.FIRING,), statuses=("Actual",), datastream=datastream.code)
    )[0]
    assert counted == []
    assert world.engine.end_exercise(drill.identifier, "王工", now_at(222)).state is AlertState.RESOLVED


def test_a_change_within_its_error_has_no_colour_and_the_same_change_surveyed_well_has(world: Stack) -> None:
    far, near = world.rate(), world.rate()
    world.engine.evaluate([world.put(far, [(0, -8.0)], sigma=10.0), world.put(near, [(0, -8.0)], sigma=1.4)], now_at(1))
    assert world.alerts_on(far) == []
    states = {(state.rule_code, state.scope): state for state in world.alerts.rule_states(verdict="cannot_tell")}
    assert states["subsidence-rate-12mo", far.code].reason == "not_significant"
    assert only_alert(world, near).level is Level.BLUE


def test_an_interim_rate_is_never_issued_without_a_person(world: Stack, telephone: HTTPServer) -> None:
    datastream = world.rate()
    world.engine.evaluate([world.put(datastream, [(0, -15.0)], quality=2)], now_at(230))
    alert = only_alert(world, datastream)
    assert (alert.state, alert.confirmation) == (AlertState.PENDING, Confirmation.AWAITED)
    assert world.alerts.cap_messages(alert.alert_id) == []
    send(world, 231)
    assert told(telephone, "/staff", datastream) == []
    world.engine.confirm(alert.identifier, "王工", "levelling agrees", now_at(230) + timedelta(hours=30))
    send(world, 232)
    assert told(telephone, "/staff", datastream) == ["Alert"]


def test_a_rule_that_was_changed_back_does_not_page_twice(world: Stack) -> None:
    datastream = world.rate()
    world.engine.evaluate([world.put(datastream, [(0, -15.0)])], now_at(240))
    before = len(world.alerts.cap_messages(only_alert(world, datastream).alert_id))
    rule = world.alerts.rule("subsidence-rate-12mo")
    assert rule is not None
    world.alerts.save_rule(replace(rule, name_en="Rate of subsidence"), now=now_at(241))
    world.engine.tick(now_at(241))
    alert = only_alert(world, datastream)
    assert alert.state is AlertState.FIRING
    assert len(world.alerts.cap_messages(alert.alert_id)) == before
