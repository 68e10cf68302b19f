"""Who is told when: hours of duty, levels that always pass, digests, templates; and the relay against a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.dispatch import Dispatcher
from alerts.notifiers import DeliveryError, NotifierSettings
from alerts.notifiers.relay import RelayNotifier
from alerts.routing import plan, read_duty
from alerts.templates import check_templates, render
from domain.alert import MessageType
from domain.alerting import Notification, NotificationState, Receiver
from domain.errors import InputError
from tests.alerts.fake_data import Observations
from tests.alerts.fakes import Store

ZONE = ZoneInfo("Asia/Shanghai")
OFFICE = {"windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:30", "to": "17:30"}], "always_from": "orange"}
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=ZONE).astimezone(UTC)


def message(
    number: int, level: str, alert: int | None = None, *, created: datetime = MONDAY_NOON, kind: str = "alert"
) -> Notification:
    payload: dict[str, Any] = {
        "node": "jiaxing",
        "identifier": f"ID{number}",
        "status": "Actual",
        "headline": {"zh": f"标题{number}", "en": f"Title {number}"},
        "explanation": {"zh": f"说明{number}", "en": f"Text {number}"},
    }
    payload |= {"kind": kind} if kind != "alert" else {"alert": {"level": level, "station": "S1", "value": 12.5, "unit": "mm/a"}}
    return Notification(
        f"K{number}",
        "duty",
        MessageType.ALERT,
        payload,
        created,
        created,
        alert if alert is not None else number,
        notification_id=number,
    )


@pytest.mark.parametrize(
    ("local", "level", "open_"),
    [
        (datetime(2026, 3, 2, 8, 29, tzinfo=ZONE), "blue", False),
        (datetime(2026, 3, 2, 8, 30, tzinfo=ZONE), "blue", True),
        (datetime(2026, 3, 2, 17, 29, tzinfo=ZONE), "yellow", True),
        (datetime(2026, 3, 2, 17, 30, tzinfo=ZONE), "yellow", False),
        (datetime(2026, 3, 2, 3, 0, tzinfo=ZONE), "orange", True),
        (datetime(2026, 3, 7, 12, 0, tzinfo=ZONE), "yellow", False),
        (datetime(2026, 3, 7, 12, 0, tzinfo=ZONE), "red", True),
    ],
)  # fmt: skip
def test_office_hours_hold_back_what_can_wait(local: datetime, level: str, open_: bool) -> None:
    found = plan(read_duty({"hours": OFFICE}, "duty"), [message(1, level)], local, ZONE)
    assert bool(found.send) is open_ and not found.bundle


@pytest.mark.parametrize(("hour", "open_"), [(21, False), (22, True), (23, True), (5, True), (6, False)])
def test_a_night_shift_reaches_beyond_midnight(hour: int, open_: bool) -> None:
    night = {"hours": {"windows": [{"days": ["mon"], "from": "22:00", "to": "06:00"}]}}
    day = 2 if hour > 12 else 3
    found = plan(read_duty(night, "duty"), [message(1, "red")], datetime(2026, 3, day, hour, tzinfo=ZONE), ZONE)
    assert bool(found.send) is open_


def test_a_red_message_takes_what_was_held_of_its_alert_along_and_in_order() -> None:
    night = datetime(2026, 3, 2, 23, tzinfo=ZONE)
    waiting = [message(1, "blue", 7), message(2, "blue", 8), message(3, "yellow", 7), message(4, "red", 7)]
    assert [item.notification_id for item in plan(read_duty({"hours": OFFICE}, "d"), waiting, night, ZONE).send] == [1, 3, 4]


@given(
    st.lists(st.tuples(st.sampled_from(["blue", "yellow", "orange", "red"]), st.integers(1, 4)), max_size=12), st.integers(0, 167)
)
def test_nothing_is_lost_or_overtakes_another_message_of_its_alert(said: list[tuple[str, int]], hour: int) -> None:
    duty = read_duty({"hours": OFFICE, "digest": {"at": "08:00", "up_to": "blue"}}, "duty")
    waiting = [message(n, level, alert) for n, (level, alert) in enumerate(said)]
    now = MONDAY_NOON + timedelta(hours=hour)
    found = plan(duty, waiting, now, ZONE)
    sent, bundled = [item.notification_id for item in found.send], [item.notification_id for item in found.bundle]
    assert sent == sorted(sent) and bundled == sorted(bundled) and not set(sent) & set(bundled)
    urgent = [item for item in waiting if item.payload["alert"]["level"] in ("orange", "red")]
    assert {item.notification_id for item in urgent} <= set(sent)
    for item in urgent:
        before = {other.notification_id for other in waiting[: waiting.index(item)] if other.alert_id == item.alert_id}
        assert before <= set(sent)


class Taking:
    """Takes everything and remembers it."""

    def __init__(self) -> None:
        self.taken: list[Notification] = []

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        self.taken.append(notification)

    def close(self) -> None:
        """Nothing is open."""


def test_a_digest_goes_once_a_day_with_what_waited_and_urgent_ones_do_not_wait() -> None:
    store, notifier = Store(Observations()), Taking()
    store.save_receiver(Receiver("duty", "webhook", {"digest": {"at": "08:00", "up_to": "yellow"}}))
    for item in (message(1, "blue"), message(2, "red"), message(3, "yellow")):
        store.tables.outbox[item.notification_id or 0] = item
    dispatcher = Dispatcher(store, {"webhook": notifier}, np.random.default_rng(1), zone=ZONE)
    dispatcher.run_once(MONDAY_NOON + timedelta(hours=1))
    assert [item.idempotency_key for item in notifier.taken] == ["K2"]
    tomorrow = MONDAY_NOON + timedelta(hours=20, minutes=1)
    for _ in range(3):
        dispatcher.run_once(tomorrow)
    digest = notifier.taken[1]
    assert len(notifier.taken) == 2 and [item["identifier"] for item in digest.payload["items"]] == ["ID1", "ID3"]
    assert "标题1" in digest.payload["explanation"]["zh"] and digest.payload["headline"]["en"].endswith("2 messages")
    states = [store.tables.outbox[number].state for number in (1, 2, 3)]
    assert states == [NotificationState.BUNDLED, NotificationState.SENT, NotificationState.BUNDLED]
    store.tables.outbox[9] = message(9, "blue", created=tomorrow)
    dispatcher.run_once(tomorrow + timedelta(hours=1))
    assert len(notifier.taken) == 2


def test_hours_that_cannot_be_read_tell_at_any_hour_rather_than_never() -> None:
    store, notifier = Store(Observations()), Taking()
    store.save_receiver(Receiver("duty", "webhook", {"hours": {"windows": "always"}}))
    store.tables.outbox[1] = message(1, "blue")
    Dispatcher(store, {"webhook": notifier}, np.random.default_rng(1)).run_once(MONDAY_NOON)
    assert len(notifier.taken) == 1


def test_a_test_message_goes_at_any_hour() -> None:
    sunday = datetime(2026, 3, 8, 3, tzinfo=ZONE)
    assert len(plan(read_duty({"hours": OFFICE}, "d"), [message(1, "blue", kind="test")], sunday, ZONE).send) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"hours": {"windows": []}},
        {"hours": {"windows": [{"from": "8:30", "to": "17:30"}]}},
        {"hours": {"windows": [{"from": "08:30", "to": "25:00"}]}},
        {"hours": {"windows": [{"days": ["monday"], "from": "08:30", "to": "17:30"}]}},
        {"hours": {"windows": [{"from": "08:30", "to": "17:30"}], "always_from": "purple"}},
        {"hours": {"window": []}},
        {"digest": {"at": 8}},
        {"digest": {"up_to": "yellow"}},
        {"digest": "daily"},
    ],
)
def test_settings_that_cannot_be_read_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        read_duty(settings, "duty")
    assert refused.value.where and refused.value.remedy


def test_templates_are_filled_in_both_languages_and_never_run_anything() -> None:
    payload = message(1, "red").payload
    assert render(payload, {}).title == "[RED] 标题1" and render(payload, {}).text == "说明1\n\nID1"
    assert render(payload, {"language": "both", "template": "short"}).text == "【红色预警】标题1（ID1）\n\n[RED] Title 1 (ID1)"
    own = {"language": "en", "templates": {"en": "$mark $station $value $unit ${limit}"}}
    assert render(payload, own).text == "RED S1 12.5 mm/a —"
    assert render(message(1, "red", kind="test").payload, {"template": "short"}).text == "【测试】标题1（ID1）"


@pytest.mark.parametrize(
    "settings",
    [
        {"template": "fancy"},
        {"language": "fr"},
        {"templates": {"en": "$password"}},
        {"templates": {"en": "5 $"}},
        {"templates": {"fr": "x"}},
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        check_templates(settings, "receiver")


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A web service that takes JSON and answers with the status that it is told."""
    taken: list[dict[str, Any]] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/hook", taken, answers
    server.shutdown()
    server.server_close()


def relay(address: str) -> RelayNotifier:
    return RelayNotifier(NotifierSettings("jiaxing", secrets={"duty": address}))


def test_the_relay_hands_title_and_text_to_the_service(service: Any) -> None:
    address, taken, _ = service
    receiver = Receiver("duty", "apprise", {"url_secret": "duty", "template": "short"})
    relay(address).deliver(receiver, message(1, "red"))
    assert taken[0]["title"] == "[RED] 标题1" and "【红色预警】标题1（ID1）" in taken[0]["message"]


def test_a_service_that_fails_is_tried_again_and_the_reason_kept(service: Any) -> None:
    address, _, answers = service
    answers.append(500)
    with pytest.raises(DeliveryError) as failed:
        relay(address).deliver(Receiver("duty", "apprise", {"url_secret": "duty"}), message(1, "red"))
    assert failed.value.retryable and "500" in failed.value.what


@pytest.mark.parametrize(
    "address", ["dingtalk://SECabc@0123456789abcdef/", "wecombot://12345678-1234-1234-1234-1234567890ab/", "feishu://abcdef/"]
)
def test_the_services_that_supervisors_use_are_known(address: str) -> None:
    services = relay(address)._services(Receiver("duty", "apprise", {"url_secret": "duty"}))
    assert len(services) == 1


@pytest.mark.parametrize(("address", "name"), [("nonsense://x", "duty"), ("", "duty"), ("json://localhost", "absent")])
def test_an_address_that_cannot_work_is_not_tried_again(address: str, name: str) -> None:
    with pytest.raises(DeliveryError) as failed:
        relay(address).deliver(Receiver("duty", "apprise", {"url_secret": name}), message(1, "red"))
    assert not failed.value.retryable
    assert "nonsense" not in failed.value.what


def test_levels_are_compared_by_the_worst_that_an_alert_reached() -> None:
    item = message(1, "blue")
    risen = replace(item, payload={**item.payload, "alert": {"level": "blue", "peak_level": "red"}})
    night = datetime(2026, 3, 2, 23, tzinfo=ZONE)
    assert len(plan(read_duty({"hours": OFFICE}, "d"), [risen], night, ZONE).send) == 1
