"""What a review with fresh eyes asked for: who withdraws whose events, what relative heights tell, who finds what in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from domain.alert import Level
from domain.model import EventKind, StationEvent
from service.api.problems import TooManyRequestsError
from service.api.throttle import LoginThrottle
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.fakes import NOW, FakeContainer
from tests.service.api.world import alert, cap_message

V1 = "/api/v1"


def test_an_operator_withdraws_its_own_events_and_not_what_others_noted_about_it(
    client: TestClient, container: FakeContainer
) -> None:
    noted = container.registers.add_event(StationEvent("SECRET1", EventKind.TAMPER, NOW, author="supervisor"), "supervisor")
    assert client.delete(f"{V1}/events/{noted.event_id}", headers=bearer("operator")).status_code == 403
    body = {"station": "SECRET1", "kind": "maintenance", "start": "2026-02-01T00:00:00Z"}
    own = client.post(f"{V1}/events", json=body, headers=bearer("operator")).json()
    assert client.delete(f"{V1}/events/{own['id']}", headers=bearer("operator")).status_code == 204
    assert client.delete(f"{V1}/events/{noted.event_id}", headers=bearer("supervisor")).status_code == 204


def test_attempts_at_the_same_time_count_before_they_have_failed() -> None:
    throttle = LoginThrottle(per_name=5)
    for _ in range(5):
        throttle.attempt("admin", "a", NOW)
    with pytest.raises(TooManyRequestsError):
        throttle.attempt("ADMIN", "b", NOW)
    throttle.attempt("other", "a", NOW)


def test_logging_in_often_makes_nobody_wait() -> None:
    throttle = LoginThrottle(per_address=3)
    for _ in range(50):
        throttle.attempt("admin", "a", NOW)
        throttle.succeeded("admin", "a")
    throttle.attempt("admin", "a", NOW + timedelta(seconds=1))


def test_many_guesses_at_once_are_throttled_like_one_after_the_other(client: TestClient) -> None:
    def guess(number: int) -> int:
        return client.post(f"{V1}/login", json={"name": "supervisor", "password": f"guess {number}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(12)))
    assert (answers.count(401), answers.count(429)) == (5, 7)


@pytest.fixture
def analysed(container: FakeContainer) -> FakeContainer:
    """The relative station's heights with a fitted model, whose level is the absolute height."""
    time = np.datetime64("2021-01-01", "us") + np.arange(1200) * np.timedelta64(86_400_000_000, "us")
    rng = np.random.default_rng(3)
    samples = Samples(time, 2.5 + rng.normal(0, 0.001, 1200), None, np.ones(1200, dtype=np.int16))
    runs = {
        item.run.method: SimpleNamespace(
            **{part.name: getattr(item.run, part.name) for part in fields(item.run)}, read_seq=1, recorded_at=NOW
        )
        for item in analyse_datastream(samples, [], AnalysisSettings("m", "height"), datetime(2024, 4, 20, tzinfo=UTC))
    }
    container.analyses.latest_runs = lambda key: runs
    return container


def test_results_of_relative_heights_tell_no_absolute_height(analysed: FakeContainer, client: TestClient) -> None:
    path = f"{V1}/datastreams/REL1:height/results"
    whole = client.get(path, headers=bearer("supervisor")).json()
    assert any("parameters" in run["result"] for run in whole["runs"])
    assert whole["curve"]["fitted"][0] == pytest.approx(2.5, abs=0.01)
    told = client.get(path, headers=bearer("viewer")).json()
    assert [run["result"] for run in told["runs"]] == [None] * len(whole["runs"])
    assert told["limits"] == []
    assert told["velocity"]["rate"] == whole["velocity"]["rate"]
    assert told["curve"]["fitted"][0] == pytest.approx(0.0, abs=0.01)
    assert not [
        number
        for number in numbers_of(told["velocity"], told["curve"], told["forecast"])
        if number == pytest.approx(2.5, abs=0.01)
    ]
    assert whole["forecast"]["tested"]["value"][0] == pytest.approx(2.5, abs=0.01)
    assert told["forecast"]["tested"]["backtest"] == whole["forecast"]["tested"]["backtest"]


def test_a_scenario_of_relative_heights_tells_no_absolute_height(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "status": "ok",
        "end_value": 2.48,
        "value": [2.40],
        "lower": [2.30],
        "upper": [2.45],
        "time": ["2050-01-01T00:00:00Z"],
    }
    monkeypatch.setattr("service.api.routers.datastreams.scenario_of", lambda *inputs: dict(said))
    path = f"{V1}/datastreams/REL1:height/scenario"
    assert client.get(path, headers=bearer("supervisor")).json()["value"] == [2.40]
    told = client.get(path, headers=bearer("viewer")).json()
    assert [told[name][0] for name in ("value", "lower", "upper")] == pytest.approx([-0.10, -0.20, -0.05])
    assert told["end_value"] == pytest.approx(-0.02)


def numbers_of(*values: Any) -> Iterator[float]:
    for value in values:
        if isinstance(value, dict):
            yield from numbers_of(*(item for name, item in value.items() if name not in {"level", "start", "end"}))
        elif isinstance(value, list):
            yield from numbers_of(*value)
        elif isinstance(value, float):
            yield value


def datasets(client: TestClient, role: str) -> dict[str, Any]:
    response = client.get(f"{V1}/catalogue", headers=bearer(role))
    assert response.status_code == 200, response.text
    return {item["dct:identifier"]: item for item in response.json()["dcat:dataset"]}


def test_a_partner_finds_in_the_catalogue_what_its_agreement_covers(client: TestClient, container: FakeContainer) -> None:
    found = datasets(client, "partner")
    assert set(found) == {"depth_to_water", "water_temperature"}  # rounded: absolute heights are hidden
    assert found["depth_to_water"]["dct:description"].startswith("3 datastreams")  # neither SECRET1 nor SIM1
    assert found["depth_to_water"]["dcat:distribution"]["dcat:accessURL"]["@id"].endswith("/api/v1/shared/changes")
    assert set(datasets(client, "supervisor")) == {"depth_to_water", "height", "water_temperature"}
    for agreement, expected in (
        ({"datasets": ["datastreams"], "properties": ["water_temperature"]}, {"water_temperature"}),
        ({"datasets": ["datastreams"], "disclosure": "relative"}, {"depth_to_water", "height", "water_temperature"}),
        ({"datasets": ["datastreams"], "regions": ["3309"]}, set()),
        ({"datasets": ["alerts"]}, set()),
    ):
        container.access.upsert_partner("310000", "上海市", "Shanghai", agreement, "test", True)
        assert set(datasets(client, "partner")) == expected
    assert client.get(f"{V1}/catalogue", headers=bearer("device")).status_code == 403


def test_a_cap_message_of_hidden_heights_is_for_those_with_the_right(client: TestClient, container: FakeContainer) -> None:
    store = container.alerts
    store.records[2] = alert(container, 2, "ROUND1", Level.RED, alert_id=2, datastream="ROUND1:height", scope="ROUND1:height")
    store.caps.append(replace(cap_message(2), identifier="of heights"))
    assert client.get(f"{V1}/alerts/2.cap", headers=bearer("supervisor")).status_code == 200
    assert client.get(f"{V1}/alerts/2.cap", headers=bearer("viewer")).status_code == 403
    assert client.get(f"{V1}/alerts/1.cap", headers=bearer("viewer")).status_code == 200
