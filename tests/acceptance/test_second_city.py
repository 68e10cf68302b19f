"""Another city by configuration: Huzhou is deployed from its folder alone; observations come in, a rule fires, the API speaks of Huzhou."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.store import AlertFilter
from domain.alert import AlertState, Level
from domain.errors import ConflictError
from service.bootstrap import Container
from service.configuration import FolderError, apply_folder
from service.settings import Settings
from tests.service.api.client import TestClient

pytestmark = pytest.mark.stack

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "huzhou"
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
HEADER = "时间,井口水温"
PROFILE = """
format: csv
encoding: utf-8
time: {column: 时间, formats: ["%Y-%m-%d %H:%M"], zone: Asia/Shanghai}
columns:
  - {match: 井口水温, property: wellhead_temperature, unit: Cel}
"""


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url, demo=True)
    with Container(settings) as opened:
        report = apply_folder(FOLDER, opened.registers, opened.alerts, opened.access, "tester", now=NOW)
        assert report.version is not None
        yield opened


def test_applying_again_changes_nothing(container: Container) -> None:
    before = container.analyses.current_seq()
    again = apply_folder(FOLDER, container.registers, container.alerts, container.access, "tester", now=NOW)
    assert again.unchanged
    assert container.analyses.current_seq() == before


def test_the_registers_hold_the_city(container: Container) -> None:
    node = container.registers.node()
    assert node is not None
    assert (node.code, node.region_code, node.zone) == ("huzhou", "330500", "Asia/Shanghai")
    assert [station.code for station in container.registers.list_stations()] == ["HZ-BM01", "HZ-GN01", "HZ-GT01", "HZ-OW01"]
    assert [licence.code for licence in container.registers.licences("HZ-GT01")] == ["SIM-3305-GT01"]
    assert [partner.code for partner in container.access.partners()] == ["330000", "330400"]
    assert len(container.registers.events("HZ-OW01")) == 1
    well, station = container.registers.datastream("HZ-OW01:depth_to_water"), container.registers.station("HZ-OW01")
    assert well is not None
    assert station is not None
    assert sorted(limit.value for limit in container.registers.limits(well, station)) == [20.0, 26.0]
    assert "wellhead-temperature-low" in {rule.code for rule in container.alerts.rules()}


def test_an_import_makes_its_own_rule_fire_and_the_api_shows_the_city(container: Container, tmp_path: Path) -> None:
    profile = tmp_path / "huzhou_wellhead.yaml"
    profile.write_text(PROFILE, encoding="utf-8")
    zone_shift = timedelta(hours=8)
    rows = [f"{NOW + zone_shift - timedelta(hours=hour):%Y-%m-%d %H:%M},{57.4 + 0.1 * (hour % 2)}" for hour in range(12, 0, -1)]
    report = container.pipeline.ingest_file(
        "\n".join([HEADER, *rows]).encode(),
        "井口水温.csv",
        profile=profile,
        station="HZ-GT01",
        create=False,
        actor="tester",
        now=NOW,
    )
    assert (report.accepted, report.rejected) == (12, 0)
    datastream = container.registers.datastream("HZ-GT01:wellhead_temperature")
    assert datastream is not None
    assert datastream.datastream_id is not None
    with container.work.claim("evaluate", 100) as claimed:
        container.engine.evaluate(claimed, NOW)
    alerts, _ = container.alerts.list_alerts(AlertFilter(states=(AlertState.FIRING,), rule_code="wellhead-temperature-low"))
    assert [(alert.datastream, alert.level) for alert in alerts] == [("HZ-GT01:wellhead_temperature", Level.YELLOW)]

    from service.api.app import create_app

    with TestClient(create_app(container, listen=False)) as client:
        node = client.get("/api/v1/node").json()
        assert node["name_zh"].startswith("湖州市")
        stations = client.get("/api/v1/stations").json()["items"]
        assert {item["name_zh"] for item in stations} == {"南浔Ⅱ层观测井", "南浔水准点", "德清GNSS基准站", "湖州WQ10地热井"}
        shown = client.get(
            "/api/v1/observations", params={"datastream": "HZ-GT01:wellhead_temperature", "resolution": "raw"}
        ).json()
        assert len(shown["items"]) == 12
        listed = client.get("/api/v1/alerts").json()["items"]
        assert any(item["rule"] == "wellhead-temperature-low" and item["station_name_zh"] == "湖州WQ10地热井" for item in listed)


def test_another_citys_folder_is_refused_in_this_database(container: Container) -> None:
    with pytest.raises(ConflictError, match="is the node 'huzhou'"):
        apply_folder(FOLDER.parent / "jiaxing", container.registers, container.alerts, container.access, "tester")
    assert container.registers.station("JX-BM01") is None


def test_a_faulty_folder_writes_nothing(own_database_url: str, tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace("kind: benchmark", "kind: bench"), encoding="utf-8")
    with Container(Settings(home=tmp_path, database_url=own_database_url)) as fresh:
        with pytest.raises(FolderError, match=r"stations\.yaml"):
            apply_folder(tmp_path, fresh.registers, fresh.alerts, fresh.access, "tester")
        assert fresh.registers.node() is None
        assert fresh.registers.list_stations() == []


def test_a_changed_folder_updates_what_changed_and_keeps_what_numbers_mean(own_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "city"
    folder.mkdir()
    for file in FOLDER.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    stations = folder / "stations.yaml"
    text = stations.read_text(encoding="utf-8")
    with Container(Settings(home=tmp_path, database_url=own_database_url)) as fresh:
        apply_folder(folder, fresh.registers, fresh.alerts, fresh.access, "tester")
        stations.write_text(text.replace("Nanxun benchmark", "Nanxun mark"), encoding="utf-8")
        report = apply_folder(folder, fresh.registers, fresh.alerts, fresh.access, "tester")
        assert dict(report.changed) == {"stations": 1}
        renamed = fresh.registers.station("HZ-BM01")
        assert renamed is not None
        assert renamed.name_en == "Nanxun mark"
        stations.write_text(text.replace("unit: m, sensor: probe", "unit: cm, sensor: probe"), encoding="utf-8")
        with pytest.raises(ConflictError, match="cannot become 'cm'"):
            apply_folder(folder, fresh.registers, fresh.alerts, fresh.access, "tester")
