"""Strange requests on the real database: whatever a caller sends, the fault is told as the caller's; and where batches came from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import RequestError
from service.api.app import create_app
from service.bootstrap import Container
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import START, add_people, commit, fill

pytestmark = pytest.mark.stack
V1 = "/api/v1"


@pytest.fixture(scope="module")
def real(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    home: Path = tmp_path_factory.mktemp("home")
    with Container(Settings(home=home, database_url=database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)) as container:
        fill(container)
        add_people(container)
        yield container


@pytest.fixture(scope="module")
def api(real: Container) -> Iterator[TestClient]:
    with TestClient(create_app(real, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


def test_batches_tell_where_observations_came_from(api: TestClient, real: Container) -> None:
    commit(real, "OPEN1:depth_to_water", [6.5], start=START + timedelta(days=90))
    path: str | None = f"{V1}/batches?limit=4"
    found: list[dict[str, Any]] = []
    while path is not None:
        page = api.get(path, headers=bearer("analyst")).json()
        found += page["items"]
        path = page["next"]
    assert [item["id"] for item in found] == sorted((item["id"] for item in found), reverse=True)
    assert len(found) == 11
    assert (found[0]["source"], found[0]["accepted"], found[0]["received_at"]) == ("seed.csv", 1, "2026-04-01T00:00:00Z")
    assert [api.get(f"{V1}/batches", headers=bearer(role)).status_code for role in ("admin", "supervisor", "viewer")] == [
        200, 403, 403,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{V1}/stations/%00", None),
        ("GET", f"{V1}/stations?kind=%00", None),
        ("GET", f"{V1}/alerts/99999999999999999999", None),
        ("DELETE", f"{V1}/events/99999999999999999999", None),
        ("GET", f"{V1}/batches?after=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", None),
        ("GET", f"{V1}/quarantine?after=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", None),
        ("GET", f"{V1}/observations?datastream=OPEN1:depth_to_water&as_of=99999999999999999999", None),
        ("GET", f"{V1}/observations?datastream=OPEN1:depth_to_water&from=0001-01-01T00:00:00%2B08:00", None),
        ("GET", f"{V1}/shared/changes?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTkuMC4", None),
        ("POST", f"{V1}/login", b'{"name": "a\\u0000b", "password": "x"}'),
        ("POST", f"{V1}/login", b'{"name": "a\\ud800b", "password": "x"}'),
        ("POST", f"{V1}/login", b'{"name": "ab", "password": "\\ud800"}'),
        ("POST", f"{V1}/observations", b'{"station": "OPEN1", "t": "2026-01-01T00:00:00Z", "\\ud800": 1}'),
        ("POST", f"{V1}/observations", b'{"station": "OPEN1", "t": "2026-01-01T00:00:00Z", "\\u0000": 1}'),
        ("POST", f"{V1}/observations", b'{"station": "OPEN1", "t": "2026-01-01T00:00:00Z", "depth_to_water": 1e999}'),
        ("POST", f"{V1}/observations", b'{"station": "OPEN1", "t": ' + b"9" * 5000 + b', "depth_to_water": 1}'),
        ("POST", f"{V1}/observations", b"[" * 100_000),
        ("POST", f"{V1}/events", b'{"station": "OPEN1", "kind": "maintenance", "start": "2026-01-01T00:00:00Z", "note": "\\u0000"}'),
    ],
)  # fmt: skip
def test_a_strange_request_is_never_an_internal_error(api: TestClient, method: str, path: str, body: bytes | None) -> None:
    role = "partner" if "/shared/" in path else "admin"
    headers = bearer(role) | {"Content-Type": "application/json"}
    response = api.request(method, path, content=body, headers=headers)
    assert response.status_code < 500, response.text
    assert response.status_code == 200 or response.headers["content-type"] == "application/problem+json"


def test_a_text_that_the_database_cannot_hold_is_the_callers_fault(real: Container) -> None:
    with pytest.raises(RequestError):
        real.access.account("a\x00b")
    assert real.access.account("admin") is not None
