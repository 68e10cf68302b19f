"""Two workers on one database: each message goes once, in order, signed, and the second takes over when the first stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alerts.notifiers.webhook import signature
from domain.alert import MessageType
from domain.alerting import Notification, NotificationState, Receiver
from service.bootstrap import Container
from service.dispatching import MATTER, dispatch_until
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack

KEY = "钥匙 of the bureau"
PATIENCE_S = 30.0


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["Idempotency-Key"], self.headers["X-GroundWatch-Signature"], body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def bureau() -> Iterator[ThreadingHTTPServer]:
    """A receiver on loopback that keeps what it gets."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def workers(
    own_database_url: str, tmp_path: Path, bureau: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list]:
    """Two workers' containers, and a receiver that signs with a key from the environment."""
    monkeypatch.setenv("GROUNDWATCH_SECRET_BUREAU", KEY)
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:9", database_pool=2)
    with ExitStack() as opened:
        containers = [opened.enter_context(Container(settings)) for _ in range(2)]
        containers[0].registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        url = f"http://127.0.0.1:{bureau.server_port}/"
        containers[0].alerts.save_receiver(Receiver("bureau", "webhook", {"url": url, "secret": "bureau"}))
        yield containers


def queue(container: Container, numbers: range) -> None:
    now = container.clock() - timedelta(seconds=1)
    with container.alerts.transaction() as tx:
        tx.enqueue([Notification(f"{n:03}", "bureau", MessageType.ALERT, {"number": n}, now, now) for n in numbers])


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def test_two_workers_send_each_message_once_in_order_and_the_second_takes_over(
    workers: list[Container], bureau: ThreadingHTTPServer
) -> None:
    got: list[tuple[str, str, bytes]] = bureau.got  # type: ignore[attr-defined]
    stops = [threading.Event() for _ in workers]
    threads = [
        threading.Thread(target=dispatch_until, args=pair, kwargs={"look_again_s": 0.02, "stand_by_s": 0.05})
        for pair in zip(workers, stops, strict=True)
    ]
    watcher = workers[0].leadership(MATTER)
    try:
        threads[0].start()
        wait_until(lambda: not _is_free(watcher))
        threads[1].start()
        queue(workers[0], range(40))
        wait_until(lambda: len(got) >= 40)
        stops[0].set()
        threads[0].join(PATIENCE_S)
        queue(workers[1], range(40, 60))
        wait_until(lambda: not workers[1].alerts.waiting("bureau"))
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [key for key, _, _ in got] == [f"{n:03}" for n in range(60)]
    assert all(signed == signature(KEY, body) for _, signed, body in got)
    assert len(workers[1].alerts.notifications(state=NotificationState.SENT, limit=100)) == 60


def test_what_is_committed_wakes_the_dispatcher_long_before_it_would_look_again(
    workers: list[Container], bureau: ThreadingHTTPServer
) -> None:
    got: list[tuple[str, str, bytes]] = bureau.got  # type: ignore[attr-defined]
    stop, look_again_s = threading.Event(), 600.0
    thread = threading.Thread(target=dispatch_until, args=(workers[0], stop), kwargs={"look_again_s": look_again_s})
    thread.start()
    try:
        for number in range(5):
            queue(workers[1], range(number, number + 1))
            wait_until(lambda wanted=number: len(got) > wanted)
    finally:
        stop.set()
        queue(workers[1], range(5, 6))
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def _is_free(leadership) -> bool:
    if leadership.try_acquire():
        leadership.release()
        return True
    return False


def test_a_key_that_is_not_set_is_said_and_the_message_is_kept(
    workers: list[Container], bureau: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROUNDWATCH_SECRET_BUREAU")
    queue(workers[0], range(1))
    workers[0].dispatcher.run_once(workers[0].clock())
    (dead,) = workers[0].alerts.notifications(state=NotificationState.DEAD)
    assert "'bureau', which is not set" in (dead.last_error or "")
    assert KEY not in (dead.last_error or "")
    assert bureau.got == []  # type: ignore[attr-defined]
