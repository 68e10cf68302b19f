"""A receiver that is down for two hours gets everything, in order; what is given up is sent again by the page's button, under its old key.

The receiver is a real HTTP service with a port of its own, the page a real one in Chromium; only the clock is turned.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lxml import etree
from selenium import webdriver

from alerts.dispatch import LONGEST_WAIT_S, Dispatcher
from alerts.notifiers import NotifierSettings, build
from alerts.notifiers.webhook import signature
from alerts.rules import parse_rule
from domain.alerting import OUT_OF_SERVICE, NotificationState, Receiver, Silence
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.settings import Settings
from storage.register_rows import Node
from tests.acceptance.test_partner_exchange import serving
from tests.acceptance.test_scenario_24 import Clocked, free_port
from tests.service.web.driving import Page
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
SECRET, PASSWORD = "between the two of us", "correct horse battery"
START = datetime(2026, 3, 2, 1, tzinfo=UTC)
WELLS = 6
RULE = {
    "code": "deep", "kind": "threshold", "name_zh": "埋深", "name_en": "Depth", "source": "test", "unit": "m",
    "scope": {"property": "pumped_depth"}, "levels": {"blue": 10, "yellow": 20}, "deadband": 0.5,
}  # fmt: skip


class ReceiverService:
    """Honours the key: acts once a key whatever it is sent; `answers` are the statuses that come before the usual 200."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool, dict[str, Any]]] = []
        self.acted: list[str] = []
        self.answers: list[int] = []

    def take(self, headers: Any, raw: bytes) -> int:
        """Note what came and act on it unless that was done before."""
        assert headers["X-GroundWatch-Signature"] == signature(SECRET, raw)
        key, body = str(headers["Idempotency-Key"]), json.loads(raw)
        assert body["idempotency_key"] == key and body["replay"] == (headers["X-GroundWatch-Replay"] == "true")
        self.heard.append((key, body["replay"], body))
        if key not in self.acted:
            self.acted.append(key)
        return self.answers.pop(0) if self.answers else 200

    @contextmanager
    def listening(self, port: int) -> Iterator[None]:
        """Be up."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(service.take(self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def house(own_database_url: str, tmp_path: Path) -> Iterator[Clocked]:
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)
    with Clocked(settings) as container:
        container.moment = START
        registers = container.registers
        registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        registers.upsert_property(ObservedProperty("pumped_depth", "动水位埋深", "pumped depth", "m", "down positive"))
        for number in range(WELLS):
            place = Station(f"W{number}", StationKind.OBSERVATION_WELL, "井", "well", region_code=f"33{number:02d}11")
            registers.add_station(place, actor="t")
            registers.add_datastream(Datastream(f"W{number}", "pumped_depth", "m", interval_s=600.0), actor="t")
        container.alerts.save_rule(parse_rule(RULE), now=START)
        yield container


def receiver(house: Clocked, port: int) -> None:
    house.alerts.save_receiver(Receiver("desk", "webhook", {"url": f"http://127.0.0.1:{port}/", "secret": "desk"}))


def observe(house: Clocked, well: int, depth: float) -> None:
    """One observation now, evaluated now."""
    stream = house.registers.datastream(f"W{well}:pumped_depth")
    assert stream is not None and stream.datastream_id is not None
    rows = columns(stream.datastream_id, [np.datetime64(house.moment.replace(tzinfo=None), "us")], [depth])
    house.observations.commit(Batch("mqtt", f"{house.moment.isoformat()}/{well}", rows, received_at=house.moment))
    with house.work.claim("evaluate", 100) as changes:
        house.engine.evaluate(changes, house.moment)


def minutes_pass(house: Clocked, minutes: int) -> int:
    """Let the dispatcher run once a minute and return how many messages went."""
    notifiers = build(NotifierSettings("test", secrets={"desk": SECRET}, timeout_s=5.0))
    sender, sent = Dispatcher(house.alerts, notifiers, np.random.default_rng(5)), 0
    for _ in range(minutes):
        house.moment += timedelta(minutes=1)
        sent += sender.run_once(house.moment).sent
    for notifier in notifiers.values():
        notifier.close()
    return sent


def test_after_two_hours_of_silence_everything_comes_in_order_once_and_soon(house: Clocked) -> None:
    port, service = free_port(), ReceiverService()
    receiver(house, port)
    for depth in (12.0, 25.0, 12.0, 5.0):
        for well in range(WELLS):
            observe(house, well, depth)
            assert minutes_pass(house, 5) == 0, "nobody listens"
    written = [item.idempotency_key for item in house.alerts.waiting("desk", 1000)]
    assert house.moment - START >= timedelta(hours=2) and len(written) >= 3 * WELLS
    with service.listening(port):
        assert minutes_pass(house, round(LONGEST_WAIT_S / 60)) == len(written), "not all came within ten minutes"
    assert [key for key, _, _ in service.heard] == written == service.acted
    assert [marked for _, marked, _ in service.heard] == [True] + [False] * (len(written) - 1), "only the first was tried before"
    stations = [(body["alert"]["station"], body["message_type"]) for _, _, body in service.heard]
    for number in range(WELLS):
        mine = [kind for station, kind in stations if station == f"W{number}"]
        assert mine[0] == "Alert" and set(mine[1:]) == {"Update"} and len(mine) >= 3
    assert house.alerts.waiting("desk") == [] and minutes_pass(house, 60) == 0


def test_a_lost_answer_comes_again_under_its_key_with_the_mark_and_holds_the_order(house: Clocked) -> None:
    port, service = free_port(), ReceiverService()
    receiver(house, port)
    observe(house, 0, 12.0)
    observe(house, 1, 12.0)
    service.answers = [503]
    with service.listening(port):
        minutes_pass(house, 5)
    keys = [key for key, _, _ in service.heard]
    assert keys[0] == keys[1] != keys[2] and len(keys) == 3, "the second waits until the first is taken over"
    assert [marked for _, marked, _ in service.heard] == [False, True, False]
    assert service.acted == [keys[0], keys[2]]


@pytest.mark.page
def test_what_was_given_up_goes_again_by_the_button_of_the_page(house: Clocked, chromium: webdriver.Chrome) -> None:
    port, service, own = free_port(), ReceiverService(), free_port()
    receiver(house, port)
    house.add_account("director", "主任", "supervisor", PASSWORD)
    observe(house, 0, 12.0)
    service.answers = [400]  # it acted, and says that it could not: no retry can mend that
    with service.listening(port):
        minutes_pass(house, 1)
    (dead,) = house.alerts.notifications(state=NotificationState.DEAD)
    assert "400" in (dead.last_error or "") and minutes_pass(house, 600) == 0, "it was tried again by itself"

    with serving(house.settings.database_url or "", house.settings.home, own):
        url = f"http://127.0.0.1:{own}"
        wait_until(lambda: _answers(url), 180, "the service")
        page = Page(chromium, url)
        page.resize(1440, 900)
        log_in(page, url)
        page.visit("alarm-quality")
        page.until(lambda: page.all(f'[data-dead="{dead.notification_id}"]'), "the dead letter is listed", 60)
        row = page.text(f'[data-dead="{dead.notification_id}"]')
        assert "desk" in row and "HTTP 400" in row
        page.click(f'[data-dead="{dead.notification_id}"] .act-again')
        page.until(lambda: page.all("[data-dead]") == [], "the letter is no longer dead", 60)
        page.visit("about:blank")
    house.moment = max(house.moment, datetime.now(UTC))
    with service.listening(port):
        assert minutes_pass(house, 2) == 1
    (first, again) = service.heard
    assert first[0] == again[0] == dead.idempotency_key and (first[1], again[1]) == (False, True)
    assert service.acted == [dead.idempotency_key], "a receiver that honours the key acted twice"
    assert house.access.verify_audit().ok


def log_in(page: Page, url: str) -> None:
    """Give the page the token of a person."""
    answer = httpx.post(f"{url}/api/v1/login", json={"name": "director", "password": PASSWORD}, trust_env=False, timeout=20)
    assert answer.status_code == 200, answer.text
    page.visit("cases")
    script = "sessionStorage.setItem('groundwatch.token', arguments[0]); localStorage.clear()"
    page.driver.execute_script(script, answer.json()["token"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_what_stands_is_announced_again_to_the_receiver_as_an_update_and_out_of_service_says_nothing(
    house: Clocked, shared_data: Path
) -> None:
    port, service = free_port(), ReceiverService()
    receiver(house, port)
    content = {"realarm": {"source": "test", "from": "yellow", "after": "P1D"}}
    house.alerts.save_policy(content, author="t", reason="", now=house.moment)
    out = Silence({"datastream": "W1:pumped_depth"}, START, START + timedelta(days=2), "wang", "repair", kind=OUT_OF_SERVICE)
    house.alerts.add_silence(out)
    with service.listening(port):
        observe(house, 0, 25.0)
        observe(house, 1, 25.0)
        minutes_pass(house, 2)
        house.moment = START + timedelta(hours=23)
        house.engine.tick(house.moment)
        assert minutes_pass(house, 2) == 0
        house.moment = START + timedelta(hours=25)
        house.engine.tick(house.moment)
        house.engine.tick(house.moment + timedelta(minutes=1))
        minutes_pass(house, 2)
        told = [(body["alert"]["station"], body["message_type"]) for _, _, body in service.heard]
        assert told == [("W0", "Alert"), ("W0", "Update")]
        first, again = (body for _, _, body in service.heard)
        assert first["alert"]["identifier"] == again["alert"]["identifier"] and "announced again, 1" in again["headline"]["en"]
        assert first["identifier"] in again["references"][0]
        schema = etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd")))
        assert all(schema.validate(etree.fromstring(body["cap"].encode())) for body in (first, again))
        house.moment = START + timedelta(days=2, minutes=1)
        house.engine.tick(house.moment)
        minutes_pass(house, 2)
    assert [body["alert"]["station"] for _, _, body in service.heard][2:] == ["W1"], "what still stands goes out at its end"
    assert house.access.verify_audit().ok
