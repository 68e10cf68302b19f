"""Verdicts and metrics of alarms against the real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.alert import MessageType
from domain.alerting import Notification, Receiver
from service.api.app import create_app
from service.bootstrap import Container
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import RULE, START, add_alerts_to_database, add_people, fill

pytestmark = pytest.mark.stack
PERIOD = "from=2026-01-01T00:00:00Z&to=2026-01-11T00:00:00Z"


@pytest.fixture(scope="module")
def client(database_url: str, broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, database_url=database_url, mqtt_url=broker.url, minimum_free_bytes=1, database_pool=4)
    with Container(settings) as container:
        fill(container)
        add_people(container)
        add_alerts_to_database(container)
        container.alerts.save_receiver(Receiver("duty", "webhook", {"url": "http://127.0.0.1:9/"}))
        with container.alerts.transaction() as unit:
            unit.enqueue(
                [Notification(f"k{n}", "duty", MessageType.ALERT, {}, START + timedelta(minutes=n), START) for n in range(12)]
            )
        with TestClient(create_app(container, listen=False), client=("127.0.0.1", 50000)) as client:
            yield client


def test_the_metrics_count_what_stood_and_leave_exercises_out(client: TestClient) -> None:
    found = client.get(f"/api/v1/alarm-quality?{PERIOD}", headers=bearer("supervisor"))
    assert found.status_code == 200, found.text
    body = found.json()
    assert (body["alerts"], body["standing"], body["unacknowledged"]) == (3, 3, 3)
    assert body["priorities"] == {"low": pytest.approx(1 / 3), "medium": pytest.approx(1 / 3), "high": pytest.approx(1 / 3)}
    assert len(body["stale"]) == 3 and body["targets"]["source"].startswith("ISA-18.2")
    (duty,) = body["receivers"]
    assert (duty["receiver"], duty["notices"], duty["worst_10_min"]) == ("duty", 12, 10)


def test_the_last_word_of_a_person_counts_and_the_earlier_one_stays(client: TestClient) -> None:
    alert = client.get("/api/v1/alerts?station=OPEN1", headers=bearer("supervisor")).json()["items"][0]["identifier"]
    path = f"/api/v1/alerts/{alert}/verdict"
    assert client.post(path, json={"verdict": "real"}, headers=bearer("supervisor")).status_code == 201
    last = client.post(path, json={"verdict": "instrument", "note": "logger wet"}, headers=bearer("analyst"))
    assert last.status_code == 201, last.text
    assert [item["verdict"] for item in last.json()["items"]] == ["real", "instrument"]
    rules = client.get(f"/api/v1/alarm-quality?{PERIOD}", headers=bearer("viewer")).json()["rules"]
    assert rules == [{"rule_code": RULE.code, "alerts": 3, "judged": 1, "false": 1, "natural": 0, "false_share": 1.0}]


@pytest.mark.parametrize(
    ("path", "body", "role", "status"),
    [
        ("/api/v1/alerts/1/verdict", {"verdict": "real"}, "viewer", 403),
        ("/api/v1/alerts/1/verdict", {"verdict": "real"}, "nameless", 403),
        ("/api/v1/alerts/999/verdict", {"verdict": "real"}, "supervisor", 404),
        ("/api/v1/alerts/1/verdict", {"verdict": "perhaps"}, "supervisor", 422),
    ],
)
def test_a_verdict_needs_a_name_an_alert_and_a_known_word(
    client: TestClient, path: str, body: dict[str, str], role: str, status: int
) -> None:
    assert client.post(path, json=body, headers=bearer(role)).status_code == status


def test_an_empty_period_is_refused(client: TestClient) -> None:
    path = "/api/v1/alarm-quality?from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert client.get(path, headers=bearer("viewer")).status_code == 400
