"""Overrides by name and reason, and the health of stations, against the real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.model import Datastream, Station, StationKind
from domain.observation import Batch, columns
from service.api.app import create_app
from service.bootstrap import Container
from service.cli import main
from service.jobs import evaluate_once
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import add_people, fill

pytestmark = pytest.mark.stack
V1 = "/api/v1"
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
CODE = "QC-1:depth_to_water"


class AtNow(Container):
    """A service whose time stands, so that the window of 48 h holds the same whenever the suite comes to this module."""

    def clock(self) -> datetime:  # type: ignore[override]
        return NOW + timedelta(minutes=10)


@pytest.fixture(scope="module")
def real(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    home: Path = tmp_path_factory.mktemp("home")
    with AtNow(Settings(home=home, database_url=database_url, minimum_free_bytes=1)) as container:
        fill(container)
        add_people(container)
        from service.configuration.vocabulary import apply_vocabulary

        apply_vocabulary(container.registers)
        container.registers.add_station(Station("QC-1", StationKind.OBSERVATION_WELL, "井", "well", simulated=True), actor="test")
        for name, unit in (("depth_to_water", "m"), ("battery_voltage", "V"), ("signal_strength", "dB")):
            container.registers.add_datastream(Datastream("QC-1", name, unit, interval_s=3600.0), actor="test")
        values = np.full(48, 5.0) + 0.01 * np.arange(48)
        values[20] = 90.0
        keep = np.arange(48) < 36
        send(container, CODE, values[keep], np.arange(48)[keep])
        send(container, "QC-1:battery_voltage", np.full(48, 3.6))
        send(container, "QC-1:signal_strength", np.full(48, -87.0))
        while evaluate_once(container):
            pass
        yield container


def send(container: Container, code: str, values: np.ndarray, hours: np.ndarray | None = None) -> None:
    datastream = container.registers.datastream(code)
    assert datastream is not None
    begin = np.datetime64((NOW - timedelta(hours=47)).replace(tzinfo=None), "us")
    times = begin + (np.arange(len(values)) if hours is None else hours) * np.timedelta64(1, "h")
    assert datastream.datastream_id is not None
    container.observations.commit(Batch("mqtt", "test", columns(datastream.datastream_id, times, values), received_at=NOW))


@pytest.fixture(scope="module")
def client(real: Container) -> Iterator[TestClient]:
    with TestClient(create_app(real, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


def flag_at(client: TestClient, hour: int) -> tuple[int, list[str], float]:
    rows = client.get(f"{V1}/observations?datastream={CODE}", headers=bearer("supervisor")).json()["items"]
    return rows[hour]["quality"], rows[hour]["quality_reasons"], rows[hour]["result"]


def test_a_person_overrides_with_name_and_reason_and_takes_it_back(client: TestClient, real: Container) -> None:
    assert flag_at(client, 20) == (4, ["spike"], 90.0)
    at = NOW - timedelta(hours=27)
    body = {"datastream": CODE, "from": at.isoformat(), "quality": "good", "reason": "a pumping test, in the book"}
    for role, status in ((None, 401), ("viewer", 403), ("operator", 403)):
        headers = bearer(role) if role else {}
        assert client.post(f"{V1}/observations/overrides", headers=headers, json=body).status_code == status
    made = client.post(f"{V1}/observations/overrides", headers=bearer("supervisor"), json=body)
    assert made.status_code == 201, made.text
    assert made.json()["changed"] == 1
    assert flag_at(client, 20) == (1, ["spike", "override"], 90.0)
    while evaluate_once(real):  # the tests run again and change nothing
        pass
    assert flag_at(client, 20)[0] == 1
    (said,) = client.get(f"{V1}/observations/overrides?datastream={CODE}", headers=bearer("viewer")).json()["items"]
    assert (said["reason"], said["actor"]) == (body["reason"], made.json()["actor"])
    gone = client.delete(f"{V1}/observations/overrides/{said['id']}", headers=bearer("supervisor"))
    assert (gone.status_code, gone.json()["changed"]) == (200, 1)
    assert client.delete(f"{V1}/observations/overrides/{said['id']}", headers=bearer("supervisor")).status_code == 404
    assert flag_at(client, 20) == (4, ["spike"], 90.0)
    every = client.get(f"{V1}/observations/overrides?datastream={CODE}&withdrawn=true", headers=bearer("viewer")).json()["items"]
    assert [row["withdrawn_by"] for row in every] == [made.json()["actor"]]


@pytest.mark.parametrize(
    "change",
    [{"quality": "perfect"}, {"reason": ""}, {"to": "2020-01-01T00:00:00Z"}, {"from": "2026-01-01"}, {"datastream": "no:such"}],
)
def test_what_cannot_be_an_override_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    body = {"datastream": CODE, "from": NOW.isoformat(), "quality": "good", "reason": "x"} | change
    response = client.post(f"{V1}/observations/overrides", headers=bearer("supervisor"), json=body)
    assert response.status_code in {400, 404, 422}, response.text


def test_the_health_of_a_station_tells_what_its_keeper_needs(client: TestClient) -> None:
    health = client.get(f"{V1}/stations/QC-1/health?hours=48", headers=bearer("viewer")).json()
    assert (health["battery_v"], health["signal"], health["state"]) == (3.6, -87.0, "doubtful")
    streams = {item["datastream"]: item for item in health["datastreams"]}
    assert streams[CODE]["received"] == 36
    assert streams[CODE]["usable"] == 35
    assert streams[CODE]["silent"] is True
    assert 70.0 < streams[CODE]["completeness_percent"] < 80.0
    assert streams["QC-1:battery_voltage"]["completeness_percent"] == 100.0
    assert {item["code"]: item["observations"] for item in health["reasons"]}["spike"] == 1
    assert health["clock_offset_s"] is None, "one receipt for all says nothing of a clock"
    assert client.get(f"{V1}/stations/NO-SUCH/health", headers=bearer("viewer")).status_code == 404


def test_the_board_lists_every_station_by_pages(client: TestClient) -> None:
    found, address = [], f"{V1}/health?limit=2"
    while address:
        page = client.get(address, headers=bearer("supervisor")).json()
        found += [item["station"] for item in page["items"]]
        address = page["next"]
    assert "QC-1" in found
    assert found == sorted(set(found))


def test_the_command_line_overrides_lists_and_takes_back(
    real: Container, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", real.settings.database_url or "")
    at = (NOW - timedelta(hours=40)).isoformat()
    home = ["--home", str(real.settings.home)]
    said = ["--from", at, "--quality", "suspect", "--reason", "probe out of the water", "--by", "W. Chen", "--json"]
    assert main(["quality", "override", CODE, *said, *home]) == 0
    assert '"changed": 1' in capsys.readouterr().out
    assert main(["quality", "list", CODE, *home]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "by W. Chen: probe out of the water" in line
    assert main(["quality", "run", CODE, "--json", *home]) == 0
    assert '"datastreams": ' in capsys.readouterr().out
    assert main(["quality", "withdraw", line.split(":")[0], "--by", "W. Chen", *home]) == 0
    assert "1 flags changed" in capsys.readouterr().out
    assert main(["quality", "override", "no:such", *said, *home]) == 2
