"""A proposed step, from the analysis through a person's answer into the event log, and back into the next analysis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import RequestError
from domain.model import Datastream
from service.analysing import Analyst
from service.api.app import create_app
from service.bootstrap import Container
from service.settings import Settings
from tests.analytics.simulation import gnss_like
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import add_people, commit, fill

pytestmark = pytest.mark.stack
V1 = "/api/v1"
FIRST = datetime(2021, 1, 1, tzinfo=UTC)
N, STEP_AT = 1100, 600


@pytest.fixture
def real(own_database_url: str, broker: Any, tmp_path: Path) -> Iterator[Container]:
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url=broker.url, minimum_free_bytes=1, database_pool=4)
    with Container(settings) as container:
        fill(container)
        add_people(container)
        container.registers.add_datastream(Datastream("OPEN1", "depth_to_water", "m", channel="stepped"), actor="test")
        values = gnss_like(0, N).value + 25.0 * (np.arange(N) >= STEP_AT)
        commit(container, "OPEN1:depth_to_water:stepped", (0.001 * values).tolist(), step=timedelta(days=1), start=FIRST)
        yield container


@pytest.fixture
def client(real: Container) -> Iterator[TestClient]:
    with TestClient(create_app(real, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


def analysed(real: Container) -> dict[str, Any]:
    """Analyse the datastream as it stands and return the result of its velocity."""
    datastream = real.registers.datastream("OPEN1:depth_to_water:stepped")
    assert datastream is not None
    with Analyst(real, in_process=True) as analyst:
        outcomes = analyst.analyse(datastream, FIRST + timedelta(days=N))
    return dict(outcomes[0].run.result)


def proposals(client: TestClient) -> list[dict[str, Any]]:
    response = client.get(f"{V1}/findings?station=OPEN1&kind=step", headers=bearer("analyst"))
    return list(response.json()["items"])


def decide(client: TestClient, number: int, role: str = "analyst", **said: Any) -> Any:
    return client.post(f"{V1}/findings/{number}/decision", json=said, headers=bearer(role))


def test_a_refused_step_is_not_proposed_again_until_the_refusal_is_withdrawn(real: Container, client: TestClient) -> None:
    assert [step["source"] for step in analysed(real)["steps"]] == ["detected"]
    (proposed,) = proposals(client)
    assert decide(client, proposed["id"], "viewer", decision="refuse").status_code == 403
    answer = decide(client, proposed["id"], decision="refuse", note="the antenna was never touched")
    assert answer.status_code == 201, answer.text
    event = answer.json()
    assert (event["effect"], event["datastream"], event["author"]) == ("no_offset", "OPEN1:depth_to_water:stepped", "analyst")
    again = decide(client, proposed["id"], decision="confirm")
    assert again.status_code == 409
    result = analysed(real)
    assert (result["steps"], result["doubtful_steps"], proposals(client)) == ([], [], [])
    assert decide(client, proposed["id"], decision="confirm").status_code == 404
    assert client.delete(f"{V1}/events/{event['id']}", headers=bearer("analyst")).status_code == 204
    analysed(real)
    assert len(proposals(client)) == 1


def test_a_confirmed_step_is_a_logged_one_from_then_on(real: Container, client: TestClient) -> None:
    before = analysed(real)
    (proposed,) = proposals(client)
    answer = decide(client, proposed["id"], decision="confirm", kind="sensor_swap", note="log book, page 12")
    assert answer.status_code == 201, answer.text
    assert (answer.json()["effect"], answer.json()["kind"]) == ("offset", "sensor_swap")
    assert datetime.fromisoformat(answer.json()["start"]) == datetime.fromisoformat(proposed["parameters"]["time"])
    after = analysed(real)
    assert [step["source"] for step in after["steps"]] == ["log"]
    assert after["steps"][0]["size"] == pytest.approx(before["steps"][0]["size"], rel=0.05)
    assert proposals(client) == []


def test_the_command_line_lists_and_answers_proposals(real: Container, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    from service.commands import steps

    analysed(real)
    found = list(steps.proposals(real, "OPEN1:depth_to_water:stepped"))
    assert [code for code, _ in found] == ["OPEN1:depth_to_water:stepped"]
    arguments = argparse.Namespace(home=None, id=found[0][1].finding_id, action="refuse", note=None, by="li", json=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "Container", lambda settings: _Borrowed(real))
        assert steps.answer(arguments) == 0
        wrong = argparse.Namespace(**{**vars(arguments), "action": "confirm", "kind": "meteor"})
        with pytest.raises(RequestError, match="no kind of event"):
            steps.answer(wrong)
    assert "no_offset" in capsys.readouterr().out
    assert real.registers.events("OPEN1")[-1].author == "li"


class _Borrowed:
    """The container of the test as a context that does not close it."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def __enter__(self) -> Container:
        return self._container

    def __exit__(self, *_: object) -> None:
        return None
