"""The outbox: at least once, in order, with patience, and never silently given up; notifiers against real servers on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from aiosmtpd.controller import Controller

from alerts.dispatch import LONGEST_WAIT_S, Dispatcher, backoff
from alerts.notifiers import NOTIFIERS, DeliveryError, NotifierSettings, build
from alerts.notifiers.webhook import signature
from domain.alerting import NotificationState, Receiver
from tests.alerts.fakes import DEPTH, STAFF, T0, World

DEPTH_CODE = "W7:depth_to_water"


class Recording:
    """A notifier that fails as it is told and remembers what it took over."""

    def __init__(self, *failures: DeliveryError | None) -> None:
        self.failures = list(failures)
        self.taken: list[str] = []

    def deliver(self, receiver, notification):
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.taken.append(notification.idempotency_key)

    def close(self):
        """Nothing is open."""


@pytest.fixture
def world() -> World:
    """One alert with three messages waiting for `staff`."""
    world = World(DEPTH)
    world.store.save_receiver(STAFF)
    for number, depth in enumerate((10.0, 12.5, 9.0)):
        world.feed(DEPTH_CODE, [(number, depth)])
    assert len(world.store.waiting("staff")) == 3
    return world


def dispatcher(world, notifier, **options):
    return Dispatcher(world.store, {"webhook": notifier}, np.random.default_rng(1), **options)


def keys(world):
    return [item.idempotency_key for item in world.store.tables.outbox.values()]


def test_messages_go_in_order_and_once(world):
    notifier = Recording()
    sender = dispatcher(world, notifier)
    now = T0 + timedelta(days=9)
    assert sender.run_once(now).sent == 3
    assert sender.run_once(now).sent == 0
    assert notifier.taken == keys(world)


def test_a_failure_holds_up_the_later_ones_until_it_is_over(world):
    notifier = Recording(DeliveryError("down", retryable=True))
    sender = dispatcher(world, notifier)
    now = T0 + timedelta(days=9)
    assert sender.run_once(now).failed == 1
    assert sender.run_once(now + timedelta(seconds=1)).sent == 0
    assert notifier.taken == []
    assert sender.run_once(now + timedelta(seconds=10)).sent == 3
    assert notifier.taken == keys(world)


def test_a_receiver_that_is_down_does_not_hold_up_another(world):
    world.store.save_receiver(replace(STAFF, code="other", kind="mqtt"))
    world.feed(DEPTH_CODE, [(5, 13.0)])
    down, up = Recording(DeliveryError("down", retryable=True)), Recording()
    sender = Dispatcher(world.store, {"webhook": down, "mqtt": up}, np.random.default_rng(1))
    sender.run_once(T0 + timedelta(days=9))
    assert len(up.taken) == 1


def test_receivers_are_served_at_the_same_time_and_each_in_order(world):
    world.store.save_receiver(replace(STAFF, code="other", kind="mqtt"))
    world.feed(DEPTH_CODE, [(5, 13.0)])
    answered = threading.Event()

    class Slow(Recording):
        def deliver(self, receiver, notification):
            assert answered.wait(30.0), "the other receiver was held up"
            super().deliver(receiver, notification)

    class Quick(Recording):
        def deliver(self, receiver, notification):
            super().deliver(receiver, notification)
            answered.set()

    slow, quick = Slow(), Quick()
    sender = Dispatcher(world.store, {"webhook": slow, "mqtt": quick}, np.random.default_rng(1), at_once=2)
    report = sender.run_once(T0 + timedelta(days=9))
    assert (report.sent, report.failed) == (len(keys(world)), 0)
    assert slow.taken == [item.idempotency_key for item in world.store.tables.outbox.values() if item.receiver_code == "staff"]
    assert len(quick.taken) == 1


def test_each_is_dated_by_when_it_was_taken_over_and_not_by_when_the_run_began(world):
    began = T0 + timedelta(days=9)
    moments = [began]

    class Slow(Recording):
        def deliver(self, receiver, notification):
            moments.append(moments[-1] + timedelta(seconds=30))
            super().deliver(receiver, notification)

    sender = dispatcher(world, Slow())
    assert sender.run_once(began, clock=lambda: moments[-1]).sent == 3
    sent = [item.sent_at for item in world.store.tables.outbox.values()]
    assert sent == [began + timedelta(seconds=30 * number) for number in (1, 2, 3)]


def test_what_no_retry_can_mend_is_a_dead_letter_and_can_be_replayed_under_its_key(world):
    notifier = Recording(DeliveryError("HTTP 400", retryable=False))
    sender = dispatcher(world, notifier)
    now = T0 + timedelta(days=9)
    report = sender.run_once(now)
    assert (report.dead, report.sent) == (1, 2)
    (dead,) = world.store.notifications(state=NotificationState.DEAD)
    assert dead.last_error == "HTTP 400"
    world.store.revive(dead.notification_id, now)
    sender.run_once(now)
    assert notifier.taken[-1] == dead.idempotency_key
    assert world.store.tables.outbox[dead.notification_id].payload["replay"] is True


def test_it_is_given_up_only_after_the_last_attempt(world):
    notifier = Recording(*[DeliveryError("down", retryable=True)] * 3)
    sender = dispatcher(world, notifier, max_attempts=3)
    now = T0 + timedelta(days=9)
    reports = [sender.run_once(now + timedelta(hours=hour)) for hour in range(3)]
    assert [report.dead for report in reports] == [0, 0, 1]


def test_a_process_that_dies_between_sending_and_marking_sends_again_under_the_same_key(world, monkeypatch):
    notifier = Recording()
    now = T0 + timedelta(days=9)

    def killed(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(world.store, "mark_sent", killed)
    with pytest.raises(KeyboardInterrupt):
        dispatcher(world, notifier).run_once(now)
    monkeypatch.undo()
    dispatcher(world, notifier).run_once(now)
    assert notifier.taken == [keys(world)[0], *keys(world)]


def test_the_wait_doubles_to_ten_minutes_and_no_two_waits_are_alike():
    rng = np.random.default_rng(3)
    waits = [backoff(attempts, rng) for attempts in range(30)]
    assert 2.5 <= waits[0] <= 5
    assert all(LONGEST_WAIT_S / 2 <= wait <= LONGEST_WAIT_S for wait in waits[12:])
    assert len(set(waits)) == len(waits)


# --- real servers ---------------------------------------------------------------------------------------------------


class _Server(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_args) -> None:
        """Say nothing."""


@pytest.fixture
def http_server() -> Iterator[_Server]:
    """A web server on loopback that answers as it is told."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def notification(world):
    """The first message of the world."""
    return world.store.waiting("staff")[0]


def webhook(**settings):
    return NOTIFIERS["webhook"](NotifierSettings("jiaxing", secrets={"key": "s3cret"}, timeout_s=2.0, **settings))


def test_a_webhook_is_signed_and_carries_its_key(http_server, notification):
    notifier = webhook()
    receiver = Receiver("hook", "webhook", {"url": f"http://127.0.0.1:{http_server.server_port}/in", "secret": "key"})
    notifier.deliver(receiver, notification)
    notifier.deliver(receiver, replace(notification, payload={**notification.payload, "replay": True}))
    notifier.close()
    (headers, body), (again, replayed) = http_server.got
    assert headers["X-GroundWatch-Signature"] == signature("s3cret", body)
    assert headers["Idempotency-Key"] == again["Idempotency-Key"] == notification.idempotency_key
    assert "X-GroundWatch-Replay" not in headers
    assert again["X-GroundWatch-Replay"] == "true"
    assert json.loads(body)["headline"]["zh"].startswith("七号井")
    assert json.loads(replayed)["replay"] is True


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(500, True), (503, True), (429, True), (408, True), (400, False), (401, False), (410, False), (302, False)],
)
def test_a_webhook_knows_whether_trying_again_helps(http_server, notification, status, retryable):
    http_server.answers = [(status, {"Retry-After": "77"})]
    notifier = webhook()
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(Receiver("hook", "webhook", {"url": f"http://127.0.0.1:{http_server.server_port}/"}), notification)
    notifier.close()
    assert caught.value.retryable is retryable
    assert caught.value.after_s == (77.0 if retryable else None)


@pytest.mark.parametrize(
    ("settings", "retryable"),
    [
        ({"url": "http://127.0.0.1:1/"}, True),
        ({"url": "ftp://127.0.0.1/"}, False),
        ({}, False),
        ({"url": "http://127.0.0.1:1/", "secret": "lost"}, False),
    ],
)
def test_a_webhook_that_cannot_be_reached_is_worth_a_retry_and_a_wrong_setting_is_not(notification, settings, retryable):
    notifier = webhook()
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(Receiver("hook", "webhook", settings), notification)
    notifier.close()
    assert caught.value.retryable is retryable


class _Mailbox:
    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.mails.append(envelope.content)
        return self.answer


@pytest.fixture
def mailbox() -> Iterator[tuple[_Mailbox, str]]:
    """A mail server on loopback."""
    box = _Mailbox()
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"smtp://127.0.0.1:{port}"
    controller.stop()


def test_mail_has_subject_text_key_and_the_cap_message(mailbox, notification):
    import email
    from email import policy

    box, url = mailbox
    notifier = NOTIFIERS["smtp"](NotifierSettings("jiaxing", smtp_url=url, timeout_s=5.0))
    receiver = Receiver("duty", "smtp", {"to": ["duty@example.org"], "language": "both"})
    notifier.deliver(receiver, notification)
    mail = email.message_from_bytes(box.mails[0], policy=policy.default)
    assert "七号井" in mail["Subject"]
    assert "Well 7" in mail["Subject"]
    assert mail["X-GroundWatch-Idempotency-Key"] == notification.idempotency_key
    assert "责任单位" in mail.get_body().get_content()
    assert [part.get_content_type() for part in mail.iter_attachments()] == ["application/cap+xml"]


@pytest.mark.parametrize(("answer", "retryable"), [("451 later", True), ("550 never", False)])
def test_mail_knows_whether_trying_again_helps(mailbox, notification, answer, retryable):
    box, url = mailbox
    box.answer = answer
    notifier = NOTIFIERS["smtp"](NotifierSettings("jiaxing", smtp_url=url, timeout_s=5.0))
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(Receiver("duty", "smtp", {"to": "duty@example.org"}), notification)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("kind", sorted(NOTIFIERS))
def test_each_notifier_says_for_good_when_it_is_not_set_up_and_retries_when_nobody_answers(kind, notification):
    closed = {
        "webhook": {"url": "http://127.0.0.1:1/"},
        "smtp": {"url": "smtp://127.0.0.1:1", "to": "a@b"},
        "mqtt": {"url": "mqtt://127.0.0.1:1"},
        "apprise": {"url_secret": "nobody"},
    }
    notifier = build(NotifierSettings("jiaxing", secrets={"nobody": "json://127.0.0.1:1/"}, timeout_s=1.0))[kind]
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(Receiver("r", kind, {}), notification)
    assert not caught.value.retryable
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(Receiver("r", kind, closed[kind]), notification)
    assert caught.value.retryable
    notifier.close()


@pytest.mark.stack
def test_mqtt_keeps_one_retained_message_an_alert(broker, world):
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    first, second, _ = world.store.waiting("staff")
    notifier = NOTIFIERS["mqtt"](NotifierSettings("jiaxing", mqtt_url=broker.url, timeout_s=10.0))
    receiver = Receiver("broker", "mqtt", {})
    notifier.deliver(receiver, first)
    notifier.deliver(receiver, second)
    notifier.close()
    got: dict[str, dict] = {}
    subscribed, arrived = threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(broker.username, broker.password)

    def on_message(_client, _data, message):
        got[message.topic] = json.loads(message.payload)
        arrived.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_args: subscribed.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe("gw/v1/nodes/jiaxing/alerts/#", qos=1)
    assert subscribed.wait(10)
    assert arrived.wait(10)
    client.disconnect()
    client.loop_stop()
    identifier = world.alerts[0].identifier
    assert list(got) == [f"gw/v1/nodes/jiaxing/alerts/yellow/{identifier}"]
    assert got[f"gw/v1/nodes/jiaxing/alerts/yellow/{identifier}"]["message_type"] == "Update"
