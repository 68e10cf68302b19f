"""A receiver that is down while the worker is killed with SIGKILL, at 50 random points: nothing is lost and nothing is done twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.rules import parse_rule
from domain.alerting import NotificationState, Receiver
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]
KILLS = 50
WELLS = 30
COURSE = (12.0, 25.0, 5.0)
"""What each well goes through, slowly enough for it not to flap; each in a region of its own, so that no funnel hides them."""
RULE = {
    "code": "deep", "kind": "threshold", "name_zh": "埋深", "name_en": "Depth", "source": "test", "unit": "m",
    "scope": {"property": "pumped_depth"}, "levels": {"blue": 10, "yellow": 20}, "deadband": 0.5,
}  # fmt: skip


class ReceiverService:
    """A receiver that honours the key: it acts once a key, whatever it is sent, and is down when told to."""

    def __init__(self) -> None:
        self.acted: list[str] = []
        self.requests = 0
        self.down = False
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                raw = self.rfile.read(length)
                if len(raw) < length:
                    return  # the sender was killed in the middle of its message
                body = json.loads(raw)
                self.send_response(service.take(str(self.headers["Idempotency-Key"]), body))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, key: str, body: dict[str, Any]) -> int:
        with self._lock:
            self.requests += 1
            if self.down:
                return 503
            if key not in self.acted:
                assert body["idempotency_key"] == key
                self.acted.append(key)
            return 200


def worker(home: str, database_url: str, mqtt_url: str, ready: Any) -> None:
    """Evaluate and dispatch until killed; the patience of the outbox is shortened so that the test sees many attempts."""
    from alerts import dispatch
    from service.dispatching import dispatch_until
    from service.heartbeats import LoopsState
    from service.jobs import evaluate_once, evaluate_until, keep_going

    dispatch.FIRST_WAIT_S = 0.02
    dispatch.LONGEST_WAIT_S = 0.1
    settings = Settings(home=Path(home), database_url=database_url, mqtt_url=mqtt_url, database_pool=4)
    stop = threading.Event()
    with Container(settings) as container:
        evaluate_once(container)
        assert container.dispatcher is not None
        ready.send(True)
        threading.Thread(
            target=keep_going, args=("evaluate", lambda: evaluate_until(container, stop), stop, LoopsState()), daemon=True
        ).start()
        dispatch_until(container, stop, look_again_s=0.02, stand_by_s=0.02)


@pytest.fixture
def house(own_database_url: str, broker: Any, tmp_path: Path) -> Iterator[Container]:
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url=broker.url, minimum_free_bytes=1, database_pool=4)
    with Container(settings) as container:
        registers = container.registers
        registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        registers.upsert_property(ObservedProperty("pumped_depth", "动水位埋深", "pumped depth", "m", "down positive"))
        for number in range(WELLS):
            registers.add_station(
                Station(f"W{number}", StationKind.OBSERVATION_WELL, "井", "well", region_code=f"33{number:02d}11"), actor="t"
            )
            registers.add_datastream(Datastream(f"W{number}", "pumped_depth", "m", interval_s=60.0), actor="t")
        container.alerts.save_rule(parse_rule(RULE), now=container.clock())
        yield container


def observe(container: Container, well: int, at: datetime, depth: float) -> None:
    stream = container.registers.datastream(f"W{well}:pumped_depth")
    assert stream is not None and stream.datastream_id is not None
    rows = columns(stream.datastream_id, [np.datetime64(at.replace(tzinfo=None), "us")], [depth])
    container.observations.commit(Batch("mqtt", f"{at.isoformat()}/{well}", rows, received_at=container.clock()))


def test_fifty_kills_lose_nothing_and_make_no_receiver_act_twice(house: Container, broker: Any, own_database_url: str) -> None:
    service = ReceiverService()
    house.alerts.save_receiver(
        Receiver("county", "webhook", {"url": f"http://127.0.0.1:{service.server.server_port}/"}, outside=False)
    )
    chance = random.Random(20261123)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            *("service.jobs", "service.dispatching", "service.quality.inspector", "service.embedded", "alerts.engine"),
            *(
                "alerts.notifiers",
                "alerts.dispatch",
                "storage.alerts",
                "storage.registers",
                "storage.observations",
                "psycopg_pool",
            ),
        ]
    )

    def begin(*, wait: bool = True) -> Any:
        ready, said = context.Pipe(duplex=False)  # an Event has a lock, which a killed process would keep
        process = context.Process(target=worker, args=(str(house.settings.home), own_database_url, broker.url, said), daemon=True)
        process.start()
        assert not wait or ready.poll(30), "the worker did not start"
        return process

    last: dict[int, float] = {}
    observed = 0
    for kill in range(KILLS):
        service.down = chance.random() < 0.4
        process = begin(wait=chance.random() < 0.9)
        for _ in range(chance.randint(1, 2)):
            round_, well = divmod(observed, WELLS)
            observed += 1
            depth = COURSE[round_ % len(COURSE)]
            observe(house, well, house.clock(), depth)
            last[well] = depth
        time.sleep(chance.uniform(0.0, 0.4))  # the random point is what is tested, not a condition that could be waited for
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        assert process.exitcode == -signal.SIGKILL, f"worker {kill} ended by itself"
    service.down = False
    process = begin()
    try:
        wait_until(lambda: house.work.pending("evaluate").count == 0 and not house.alerts.waiting("county"), timeout=60)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        service.server.shutdown()
        service.server.server_close()

    outbox = sorted(house.alerts.notifications(limit=10_000), key=lambda item: item.notification_id or 0)
    assert len(outbox) >= WELLS
    assert {item.state for item in outbox} == {NotificationState.SENT}
    assert service.acted == [item.idempotency_key for item in outbox]
    assert service.requests > len(outbox), "no message was ever tried twice: the kills tested nothing"
    for well, depth in last.items():
        told = [item.payload["alert"] for item in outbox if item.payload["alert"]["station"] == f"W{well}"]
        expected = "yellow" if depth >= 20 else "blue" if depth >= 10 else None
        if expected is None:
            assert not told or told[-1]["state"] == "resolved"
        else:
            assert told[-1]["level"] == expected and told[-1]["state"] == "firing"
