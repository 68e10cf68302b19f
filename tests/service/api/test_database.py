"""The same table of requests against the real database, and what only the real one can show."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from service.bootstrap import Container
from service.escalating import escalate, owed_answers
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.test_requests import CASES, Case
from tests.service.api.world import START, add_alerts_to_database, add_people, commit, fill

pytestmark = pytest.mark.stack
V1 = "/api/v1"
ONLY_IN_MEMORY = {"/readyz", "/metrics"}
REAL_CASES = [
    case for case in CASES if case.path not in ONLY_IN_MEMORY and not (case.path.endswith("/confirmation") and case.status == 200)
]


@pytest.fixture(scope="module")
def real(database_url: str, broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, database_url=database_url, mqtt_url=broker.url, minimum_free_bytes=1, database_pool=4)
    with Container(settings) as container:
        fill(container)
        add_people(container)
        add_alerts_to_database(container)
        yield container


@pytest.fixture(scope="module")
def client(real: Container) -> Iterator[TestClient]:
    with TestClient(create_app(real, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.mark.parametrize("case", REAL_CASES, ids=lambda case: f"{case.method} {case.path} {case.role} {case.status}")
def test_each_request_is_answered_alike_by_the_database(client: TestClient, case: Case) -> None:
    response = client.request(case.method, case.path, headers={**bearer(case.role), **(case.headers or {})}, json=case.body)
    assert response.status_code == case.status, response.text
    assert case.check(response), response.text


def get(client: TestClient, path: str, role: str = "supervisor") -> Any:
    response = client.get(path, headers=bearer(role))
    assert response.status_code == 200, response.text
    return response.json()


def test_readiness_is_given_when_everything_is_there(client: TestClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200, response.text
    assert set(response.json()["checks"]) == {"database", "migrations", "freshness", "ingest", "worker", "broker", "disk"}


def test_metrics_count_what_was_committed(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert "groundwatch_database_up 1.0" in text
    accepted = next(
        line
        for line in text.splitlines()
        if line.startswith('groundwatch_ingest_observations_total{outcome="accepted",source="file"}')
    )
    assert float(accepted.rsplit(" ", 1)[1]) >= 40
    assert 'groundwatch_alerts{level="orange",state="firing"} 1.0' in text
    assert 'groundwatch_alerts{level="red",state="firing"} 1.0' in text, "an exercise is counted"
    assert "groundwatch_http_request_duration_seconds_count" in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert all(name.startswith("groundwatch_") for name in names)


def test_a_device_gets_201_after_the_commit_and_its_key_makes_a_repeat_harmless(client: TestClient) -> None:
    body = {"station": "OPEN1", "t": "2026-02-03T00:00:00+08:00", "depth_to_water": 5.123456789012345}
    headers = {**bearer("device"), "Idempotency-Key": "one"}
    first = client.post(f"{V1}/observations", json=body, headers=headers)
    assert first.status_code == 201
    assert (first.json()["accepted"], first.json()["rejected"]) == (1, 0)
    again = client.post(f"{V1}/observations", json=body, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = client.post(f"{V1}/observations", json={**body, "depth_to_water": 1.0}, headers=headers)
    assert other.status_code == 409
    page = get(client, f"{V1}/observations?datastream=OPEN1:depth_to_water&from=2026-02-02T16:00:00Z&to=2026-02-02T16:00:01Z")
    assert [item["result"] for item in page["items"]] == [5.123456789012345]


def test_a_correction_keeps_what_was_said_before_and_as_of_reads_it(client: TestClient, real: Container) -> None:
    before = real.observations.current_seq()
    old = get(client, f"{V1}/observations?datastream=OPEN1:water_temperature")["items"]
    assert old == []
    commit(real, "OPEN1:water_temperature", [18.2])
    between = real.observations.current_seq()
    commit(real, "OPEN1:water_temperature", [18.4])
    path = f"{V1}/observations?datastream=OPEN1:water_temperature"
    assert [item["result"] for item in get(client, path)["items"]] == [18.4]
    assert [item["result"] for item in get(client, f"{path}&as_of={between}")["items"]] == [18.2]
    assert get(client, f"{path}&as_of={before}")["items"] == []
    assert [item["result"] for item in get(client, f"{path}&unit=K")["items"]] == [pytest.approx(291.55, rel=1e-12)]
    said = get(client, f"{V1}/datastreams/OPEN1:water_temperature/revisions?time=2026-01-01T00:00:00Z")["items"]
    assert [item["result"] for item in said] == [18.2]


def test_pages_give_every_observation_once(client: TestClient, real: Container) -> None:
    commit(real, "SIM1:depth_to_water", [i / 7 for i in range(250)], start=START + timedelta(days=60))
    path: str | None = f"{V1}/observations?datastream=SIM1:depth_to_water&from=2026-03-02T00:00:00Z&limit=40"
    found: list[float] = []
    pages = 0
    while path is not None:
        page = get(client, path)
        found += [item["result"] for item in page["items"]]
        path = page["next"]
        pages += 1
    assert found == [i / 7 for i in range(250)]
    assert pages == 7


def test_a_csv_page_reads_back_exactly_and_links_to_the_next(client: TestClient) -> None:
    path = f"{V1}/observations?datastream=SIM1:depth_to_water&from=2026-03-02T00:00:00Z&limit=3&format=csv"
    response = client.get(path, headers=bearer("viewer"))
    lines = response.text.split("\r\n")
    assert lines[0] == "phenomenon_time [UTC],phenomenon_end [UTC],result [m],sigma [m],quality,quality_reasons,result_time [UTC]"
    assert [float(line.split(",")[2]) for line in lines[1:4]] == [0.0, 1 / 7, 2 / 7]
    assert lines[1].startswith("2026-03-02T00:00:00Z,")
    assert response.headers["link"].endswith('rel="next"')


def test_days_are_those_of_the_nodes_zone(client: TestClient, real: Container) -> None:
    while real.rollups.refresh(1000):
        pass
    page = get(client, f"{V1}/observations?datastream=SIM1:depth_to_water&from=2026-03-01T16:00:00Z&resolution=1d")
    assert page["zone"] == "Asia/Shanghai"
    assert page["items"][0]["start"] == "2026-03-01T16:00:00Z"
    assert page["items"][0]["n"] == 16
    assert page["items"][1]["mean"] == pytest.approx(sum(i / 7 for i in range(16, 40)) / 24, rel=1e-12)
    auto = get(client, f"{V1}/observations?datastream=SIM1:depth_to_water&from=2026-03-02T00:00:00Z&resolution=auto&points=50")
    assert auto["resolution"] == "1d"


def shared(client: TestClient, cursor: str | None = None, limit: int = 1000) -> tuple[list[dict[str, Any]], str]:
    items: list[dict[str, Any]] = []
    while True:
        query = f"?limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        response = client.get(f"{V1}/shared/changes{query}", headers=bearer("partner"))
        assert response.status_code == 200, response.text
        items += response.json()["items"]
        cursor = response.json()["cursor"]
        if not response.json()["more"]:
            return items, cursor


def test_a_partner_reads_what_was_agreed_and_nothing_else(client: TestClient, real: Container) -> None:
    items, cursor = shared(client)
    text = json.dumps(items, ensure_ascii=False)
    assert "SECRET1" not in text
    assert "SIM1" not in text  # restricted, and simulated ground is no exception for those outside
    stations = {item["station"]["code"]: item["station"] for item in items if item["kind"] == "station"}
    assert set(stations) == {"OPEN1", "REL1", "ROUND1"}
    assert {(place["longitude_deg"], place["latitude_deg"], place["height_m"]) for place in stations.values()} == {
        (120.75, 30.75, None)
    }
    told = {item["datastream"] for item in items if item["kind"] == "observations"}
    assert told == {"OPEN1:depth_to_water", "REL1:depth_to_water", "ROUND1:depth_to_water", "OPEN1:water_temperature"}
    assert [item["seq"] for item in items] == sorted(item["seq"] for item in items)
    assert not [item for item in items if item["kind"] == "alert"]  # nobody confirmed it yet
    assert shared(client, cursor) == ([], cursor)
    commit(real, "OPEN1:depth_to_water", [6.5], start=START + timedelta(days=90))
    fresh, _ = shared(client, cursor)
    assert [[row["result"] for row in item["items"]] for item in fresh] == [[6.5]]
    assert real.access.audit_entries(0, 10_000)[-1].action == "read shared changes"
    assert real.access.verify_audit().ok


def test_small_pages_of_the_feed_say_the_same(client: TestClient) -> None:
    def values(items: list[dict[str, Any]]) -> list[Any]:
        batches = [item for item in items if item["kind"] == "observations"]
        return [(item["datastream"], row["phenomenon_time"], row["result"]) for item in batches for row in item["items"]]

    assert values(shared(client, limit=3)[0]) == values(shared(client)[0])


def test_reads_of_restricted_data_are_audited(client: TestClient, real: Container) -> None:
    get(client, f"{V1}/observations?datastream=SECRET1:depth_to_water", "operator")
    entry = real.access.audit_entries(0, 10_000)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("operator", "read observations", "SECRET1:depth_to_water")


def test_a_withdrawn_event_is_gone_from_the_log(client: TestClient) -> None:
    body = {"station": "REL1", "kind": "maintenance", "start": "2026-02-01T00:00:00Z"}
    made = client.post(f"{V1}/events", json=body, headers=bearer("analyst")).json()
    assert [item["id"] for item in get(client, f"{V1}/events?station=REL1")["items"]] == [made["id"]]
    assert client.delete(f"{V1}/events/{made['id']}", headers=bearer("analyst")).status_code == 204
    assert get(client, f"{V1}/events?station=REL1")["items"] == []


def test_logging_out_ends_the_token(client: TestClient) -> None:
    from tests.service.api.world import PASSWORD

    token = client.post(f"{V1}/login", json={"name": "supervisor", "password": PASSWORD}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(f"{V1}/me", headers=headers).json()["name"] == "supervisor"
    assert client.post(f"{V1}/logout", headers=headers).status_code == 204
    assert client.get(f"{V1}/me", headers=headers).status_code == 401


def test_a_commit_reaches_the_listener_within_two_seconds(real: Container) -> None:
    app = create_app(real, listen=True)
    heard: list[Any] = []
    arrived = threading.Event()

    def publish(change: Any) -> None:
        heard.append(change)
        arrived.set()

    app.state.hub.publish = publish
    with TestClient(app):
        time.sleep(1.0)
        commit(real, "OPEN1:depth_to_water", [7.5], start=START + timedelta(days=100))
        assert arrived.wait(2.0)
    assert heard[0].kind == "observations"
    assert [code for code, _ in heard[0].touched] == ["OPEN1:depth_to_water"]


def test_a_sensor_or_a_rule_is_out_of_service_with_author_reason_and_end(client: TestClient, real: Container) -> None:
    station = next(item["station"] for item in get(client, "/api/v1/alerts?state=all&status=all")["items"] if item["station"])
    body = {
        "kind": "out_of_service", "matchers": {"station": station}, "reason": "under repair",
        "starts_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
        "ends_at": (datetime.now(UTC) + timedelta(days=200)).isoformat(),
    }  # fmt: skip
    made = client.post("/api/v1/silences", json=body, headers=bearer("supervisor"))
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["reason"], made.json()["in_force"]) == ("out_of_service", "under repair", True)
    listed = get(client, "/api/v1/silences?kind=out_of_service&in_force=true")["items"]
    assert [item["id"] for item in listed] == [made.json()["id"]] and listed[0]["author"]
    marks = [
        item["out_of_service"]
        for item in get(client, "/api/v1/alerts?state=all&status=all")["items"]
        if item["station"] == station
    ]
    assert marks and all(mark["reason"] == "under repair" and mark["by"] for mark in marks)
    assert made.json()["id"] not in [item["id"] for item in get(client, "/api/v1/silences?kind=silence")["items"]]
    for changed, status in (
        ({"matchers": {"region": "3304*"}}, 400), ({"matchers": {"station": "NOWHERE"}}, 404), ({"matchers": {"rule": "no-rule"}}, 404),
        ({"reason": "  "}, 400), ({"ends_at": "2020-01-02T00:00:00Z"}, 400), ({"kind": "gone"}, 422),
        ({"ends_at": (datetime.now(UTC) + timedelta(days=400)).isoformat()}, 400),
    ):  # fmt: skip
        refused = client.post("/api/v1/silences", json={**body, **changed}, headers=bearer("supervisor"))
        assert refused.status_code == status and "remedy" in refused.text, (changed, refused.text)
    assert client.post("/api/v1/silences", json=body, headers=bearer("operator")).status_code == 403
    ended = client.delete(f"/api/v1/silences/{made.json()['id']}", headers=bearer("supervisor"))
    assert ended.status_code == 200
    assert get(client, "/api/v1/silences?kind=out_of_service&in_force=true")["items"] == []
    with real.db.transaction() as connection:
        rows = connection.execute(
            "SELECT action FROM audit_log WHERE subject = %s ORDER BY id", [str(made.json()["id"])]
        ).fetchall()
    assert [row[0] for row in rows][-2:] == ["take out of service", "end silence"]


def test_what_an_open_case_holds_is_known_to_the_alerts(client: TestClient, real: Container) -> None:
    found = get(client, "/api/v1/alerts?state=all&status=all")["items"][0]
    assert real.alerts.in_open_cases([found["id"]]) == set() == real.alerts.in_open_cases([])
    body = {"title": "checked", "alerts": [found["identifier"]], "origin": "alert", "stations": []}
    assert client.post("/api/v1/cases", json=body, headers=bearer("supervisor")).status_code == 201
    assert real.alerts.in_open_cases([found["id"], found["id"] + 99]) == {found["id"]}


def test_an_agreement_that_cannot_be_read_stops_nothing_that_is_done_for_others(client: TestClient, real: Container) -> None:
    broken = {"datasets": ["alerts"], "senders": ["x.example"], "reply_to": "desk", "acknowledge_within_h": "soon"}
    real.access.upsert_partner("broken", "坏", "broken", broken, "test")
    assert owed_answers(real) == []
    assert get(client, "/api/v1/partner-answers")["items"] == [] and "items" in get(client, "/api/v1/foreign-alerts")
    escalate(real)
