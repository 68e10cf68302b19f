"""Scenario 1: a height of 2003 above Wusong and one of 2023 above the 1985 datum, at Jiaxing, differ by -35 mm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from domain.datum import DatumOffset, height_difference_m
from domain.errors import DatumError
from service.analysing import Analyst
from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.configuration import apply_folder
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import TOKENS

pytestmark = pytest.mark.stack

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "jiaxing"
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
WUSONG_2003 = "高程系统：吴淞高程系\n点名,高程(m),观测日期\n王江泾旧点,3.928,2003-05-10\n".encode("gb18030")
H85_2023 = "高程系统：1985国家高程基准\n点名,高程(m),观测日期\n王江泾旧点,2.065,2023-05-10~2023-05-20\n".encode()
NO_DATUM = "点名,高程(m),观测日期\n无基准点,2.065,2023-05-10\n".encode()


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_folder(FOLDER, opened.registers, opened.alerts, opened.access, "tester", now=NOW)
        yield opened


def test_the_answer_is_minus_35_millimetres(container: Container) -> None:
    first = container.pipeline.ingest_file(H85_2023, "2023.csv", actor="tester", now=NOW)
    refused = container.pipeline.ingest_file(WUSONG_2003, "2003.csv", actor="tester", now=NOW)
    assert (first.accepted, refused.accepted, [reject.code for reject in refused.rejects]) == (1, 0, ["datum"])
    assert "never mixed" in refused.rejects[0].reason
    converted = container.pipeline.ingest_file(WUSONG_2003, "2003.csv", convert_datum=True, actor="tester", now=NOW)
    assert converted.accepted == 1
    datastream = container.registers.datastream("王江泾旧点:height")
    assert datastream is not None
    assert datastream.datastream_id is not None
    assert datastream.datum_code == "CN-H85"
    heights = container.observations.series(datastream.datastream_id).result
    assert heights.tolist() == [2.1, 2.065]
    assert np.round(np.diff(heights) * 1000, 6).tolist() == [-35.0]
    batch = container.observations.batch(converted.batch_ids[0])
    assert batch is not None
    assert batch.parameters["datum_conversions"][0]["offset_m"] == -1.828


def test_analysis_and_api_say_minus_35_and_no_sigma_that_nobody_knows(container: Container) -> None:
    for raw, name in ((H85_2023, "2023.csv"), (WUSONG_2003, "2003.csv")):
        container.pipeline.ingest_file(raw, name, convert_datum=True, actor="tester", now=NOW)
    datastream = container.registers.datastream("王江泾旧点:height")
    assert datastream is not None
    with Analyst(container, in_process=True) as analyst:
        velocity = analyst.analyse(datastream, NOW)[0]
    scalars = {scalar.name: scalar for scalar in velocity.scalars}
    change, rate = scalars["cumulative"], scalars["velocity"]
    assert change.value == pytest.approx(-35.0, abs=0.05)
    assert (change.unit, change.sigma) == ("mm", None)
    assert rate.value == pytest.approx(-1.75, abs=0.01)
    assert (rate.sigma, rate.reasons) == (None, ("interim", "sigma_unknown"))
    assert velocity.run.status == "interim"
    assert "midas_sigma" not in velocity.run.result
    container.access.add_account("analyst", "Analyst", "analyst", None)
    container.access.add_key(digest_of(TOKENS["analyst"]), "gw_test", "analyst", account="analyst")
    with TestClient(create_app(container, listen=False)) as client:
        shown = client.get("/api/v1/datastreams/王江泾旧点:height/results", headers=bearer("analyst")).json()["velocity"]
        stored = client.get("/api/v1/observations?datastream=王江泾旧点:height_cumulative", headers=bearer("analyst")).json()
    assert shown["cumulative"] == pytest.approx(-35.0, abs=0.05)
    assert shown["cumulative_unit"] == "mm"
    assert [item["result"] for item in stored["items"]] == [pytest.approx(-35.0, abs=0.05)]
    assert (stored["unit"], stored["items"][0]["sigma"]) == ("mm", None)


def test_the_constant_is_that_of_the_region_and_not_of_a_neighbour() -> None:
    rows = [
        DatumOffset("CN-WUSONG", "CN-H85", "3304", -1.828, "table"),
        DatumOffset("CN-WUSONG", "CN-H85", "31", -1.659, "table"),
    ]
    assert round(height_difference_m(3.928, "CN-WUSONG", 2.065, "CN-H85", "330411", rows) * 1000, 6) == -35.0
    assert round(height_difference_m(3.928, "CN-WUSONG", 2.065, "CN-H85", "310115", rows) * 1000, 6) == -204.0
    with pytest.raises(DatumError):
        height_difference_m(3.928, "CN-WUSONG", 2.065, "CN-H85", "320500", rows)


def test_a_height_without_a_datum_is_refused_with_the_remedy_and_kept_in_quarantine(container: Container) -> None:
    report = container.pipeline.ingest_file(NO_DATUM, "nodatum.csv", actor="tester", now=NOW)
    assert (report.accepted, report.rejected, report.exit_code) == (0, 1, 2)
    assert "--datum" in report.rejects[0].reason
    assert report.rejects[0].raw == "无基准点,2.065,2023-05-10".encode()
    assert container.registers.station("无基准点") is None
