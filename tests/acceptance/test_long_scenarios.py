"""A long scenario of a stored datastream, by the API and the command line, with its assumption and its refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analytics.long_scenario import ASSUMPTION
from domain.model import StationKind
from service import cli
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, every

pytestmark = pytest.mark.stack
QUARTERS = every(91.3125, 140, "1990-02-01")


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        made = GroupWorld(container).begin()
        made.station("FIELD", StationKind.BENCHMARK, (120.7, 30.8))
        t = np.arange(QUARTERS.size) / 4.0
        level = 8.0 - 3.0 / (1.0 + np.exp(-(t - 15.0) / 4.0)) + np.random.default_rng(1).normal(0.0, 0.002, t.size)
        made.put(made.stream("FIELD", "height", "m", interval_s=91 * 86400.0, datum_code="CN-H85"), QUARTERS, level)
        yield made


def test_the_api_says_where_the_level_may_be_and_on_what_assumption(world: GroupWorld) -> None:
    said = world.get("/datastreams/FIELD:height/scenario?horizon_a=20")
    assert (said["status"], said["assumption"], said["unit"], said["level"]) == ("ok", ASSUMPTION, "m", 0.95)
    assert said["lower"][-1] < 5.0 < said["upper"][-1]
    assert said["value"][-1] == pytest.approx(5.0, abs=0.2)
    assert sum(said["families"].values()) == pytest.approx(1.0)
    refused = world.get("/datastreams/FIELD:height/scenario?horizon_a=60")
    assert (refused["status"], refused["reason"]) == ("cannot_tell", "beyond_record")
    assert refused["longest_a"] < 35.0


def test_the_command_says_the_same_and_fails_where_nothing_can_be_said(
    world: GroupWorld, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    home = ["--home", str(tmp_path)]
    assert cli.main(["scenario", "FIELD:height", "--years", "20", "--json", *home]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["value"] == pytest.approx(world.get("/datastreams/FIELD:height/scenario?horizon_a=20")["value"])
    assert cli.main(["scenario", "FIELD:height", "--years", "20", *home]) == 0
    assert "a scenario that nothing in the record tests" in capsys.readouterr().out
    assert cli.main(["scenario", "FIELD:height", "--years", "60", *home]) == 1
    assert cli.main(["scenario", "FIELD:height", "--years", "-1", *home]) == 2
