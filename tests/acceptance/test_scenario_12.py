"""Scenario 12: an unvented logger under 30 hPa of other air: removed with a barometer, flagged without one, and no alert either way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alerts.defaults import default_rules
from alerts.store import AlertFilter
from domain.model import Datastream, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.jobs import evaluate_once
from service.quality.health import station_health
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
N = 96
BEGIN = np.datetime64((NOW - timedelta(hours=N)).replace(tzinfo=None), "us")
RISE_HPA = np.where(np.arange(N) < 48, 0.0, np.minimum((np.arange(N) - 47) * 5.0, 30.0))
AIR_HPA = 1013.25 + RISE_HPA
METRES_PER_HPA = 0.0101972
TRUE_M = 5.0
APPARENT_M = TRUE_M - METRES_PER_HPA * (AIR_HPA - 1013.25)


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        for rule in default_rules():
            opened.alerts.save_rule(rule, now=NOW)
        # What the air feigns is a breach, what the water does is none.
        rule = next(rule for rule in default_rules() if rule.code == "groundwater-limit")
        definition = {**rule.definition, "direction": "below", "levels": {"yellow": 4.95}, "hold": "PT6H"}
        del definition["limits"], definition["limit_kinds"]
        opened.alerts.save_rule(replace(rule, code="rising-water", definition=definition), now=NOW)
        yield opened


def add(container: Container, station: str, property_code: str, unit: str, kind: StationKind, **attributes: object) -> Datastream:
    container.registers.add_station(Station(station, kind, station, station), actor="test")
    stream = Datastream(station, property_code, unit, interval_s=3600.0, attributes=attributes)
    return container.registers.add_datastream(stream, actor="test")


def send(container: Container, datastream: Datastream, values: np.ndarray, rows: slice = slice(None)) -> None:
    times = (BEGIN + np.arange(N) * np.timedelta64(1, "h"))[rows]
    assert datastream.datastream_id is not None
    container.observations.commit(Batch("mqtt", "test", columns(datastream.datastream_id, times, values[rows]), received_at=NOW))
    while evaluate_once(container):
        pass


def alerts_on(container: Container, station: str) -> list[str]:
    return [alert.state for alert in container.alerts.list_alerts(AlertFilter(station=station))[0]]


def test_with_a_barometer_the_feigned_change_is_gone(container: Container) -> None:
    barometer = add(container, "BARO", "air_pressure", "hPa", StationKind.BAROMETER)
    well = add(container, "OW1", "depth_to_water", "m", StationKind.OBSERVATION_WELL, vented=False, barometer=barometer.code)
    send(container, barometer, AIR_HPA, slice(0, 60))
    send(container, well, APPARENT_M)
    send(container, barometer, AIR_HPA, slice(60, N))  # the barometer's data come late
    compensated = container.registers.datastream("OW1:depth_to_water:compensated")
    assert compensated is not None
    assert compensated.datastream_id is not None
    assert compensated.derivation is not None
    assert compensated.derivation.parameters["barometer"] == barometer.code
    assert np.ptp(APPARENT_M) == pytest.approx(0.306, abs=0.001)
    series = container.observations.series(compensated.datastream_id)
    assert len(series.time) == N
    assert np.all(series.quality == 1)
    assert series.result == pytest.approx(np.full(N, TRUE_M), abs=1e-3)
    raw = container.observations.page(well.datastream_id or 0, None, None, limit=N)
    assert [row.result for row in raw] == pytest.approx(APPARENT_M.tolist(), abs=0)
    assert {tuple(row.quality_reasons or ()) for row in raw} == {("uncompensated",)}
    assert alerts_on(container, "OW1") == []
    health = station_health(container, "OW1", NOW, timedelta(days=2))
    assert (health.state, health.usable_percent) == ("ok", 100.0), (
        "the air is taken off: nothing is the matter with the instrument"
    )


def test_without_a_barometer_it_is_flagged_and_raises_no_alert(container: Container) -> None:
    well = add(container, "OW2", "depth_to_water", "m", StationKind.OBSERVATION_WELL, vented=False)
    send(container, well, APPARENT_M)
    rows = container.observations.page(well.datastream_id or 0, None, None, limit=N)
    assert {(row.quality, tuple(row.quality_reasons or ())) for row in rows} == {(3, ("uncompensated",))}
    assert container.registers.datastream("OW2:depth_to_water:compensated") is None
    health = station_health(container, "OW2", NOW, timedelta(days=2))
    assert (health.state, health.usable_percent) == ("doubtful", 0.0)
    assert alerts_on(container, "OW2") == []


def test_a_vented_logger_that_says_the_same_is_believed(container: Container) -> None:
    """What keeps the alert away is the air, not a rule that never fires."""
    well = add(container, "OW3", "depth_to_water", "m", StationKind.OBSERVATION_WELL, vented=True)
    send(container, well, APPARENT_M)
    assert alerts_on(container, "OW3") != []
