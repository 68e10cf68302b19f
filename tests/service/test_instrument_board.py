"""The board of instruments against the real database: clock, drift against neighbours, and what waits in quarantine, for all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from domain.model import Datastream, EventEffect, EventKind, Station, StationEvent, StationKind
from domain.observation import Batch, columns
from ingest.messages import Message
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.quality.health import board, station_health
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = np.arange(90)


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="Asia/Shanghai"))
        water = np.cumsum(np.random.default_rng(4).normal(0.0, 0.02, DAYS.size))
        for number in range(5):
            add_well(opened, f"W{number}", 120.7 + 0.01 * number, 5.0 + number + water + (0.03 * DAYS if number == 4 else 0.0))
        add_well(opened, "FAR", 121.9, 5.0 + water)
        for minute in range(12):
            made = NOW - timedelta(minutes=12 - minute)
            raw = b'{"t": "%s", "depth_to_water": 5.0}' % (made + timedelta(minutes=30)).isoformat().encode()
            opened.pipeline.ingest_messages([Message("W3", raw, made, "topic")], made)
        opened.pipeline.ingest_messages([Message("W2", b'{"t": "no time"}', NOW, "topic")], NOW)
        while opened.rollups.refresh(1000):
            pass
        yield opened


def add_well(container: Container, code: str, longitude: float, depths: np.ndarray) -> None:
    station = Station(code, StationKind.OBSERVATION_WELL, code, code, longitude_deg=longitude, latitude_deg=30.7)
    container.registers.add_station(station, actor="t")
    stream = container.registers.add_datastream(Datastream(code, "depth_to_water", "m", interval_s=86400.0), actor="t")
    begin = np.datetime64((NOW - 90 * DAY).replace(tzinfo=None), "us")
    times = begin + DAYS * np.timedelta64(1, "D") + np.timedelta64(6, "h")
    container.observations.commit(Batch("file", "test", columns(stream.datastream_id or 0, times, depths), received_at=NOW))


def test_the_board_answers_every_question_for_every_station(container: Container) -> None:
    found = {health.station: health for health in board(container, ["W0", "W2", "W3", "W4", "FAR"], NOW, DAY)}
    drift = {code: health.drift.found for code, health in found.items() if health.drift is not None}
    assert {code: said.state.value for code, said in drift.items()} == {
        "W0": "steady",
        "W2": "steady",
        "W3": "steady",
        "W4": "drifting",
        "FAR": "cannot_tell",
    }
    assert drift["W4"].rate_per_30d == pytest.approx(0.9, abs=0.02)
    assert found["W4"].state == "doubtful"
    clock = found["W3"].clock
    assert clock is not None
    assert clock.offset_s == pytest.approx(1800.0, abs=1.0)
    (stream,) = found["W3"].datastreams
    assert (stream.received, stream.usable) == (13, 1), "what a fast clock dates ahead has come, and is in doubt"
    assert found["W0"].clock is None, "files say nothing of a clock"
    assert {code: health.quarantined for code, health in found.items()} == {"W0": 0, "W2": 1, "W3": 0, "W4": 0, "FAR": 0}


def test_a_station_alone_is_told_the_same_of(container: Container) -> None:
    (on_the_board,) = board(container, ["W4"], NOW, DAY)
    alone = station_health(container, "W4", NOW, DAY)
    assert replace(alone, reasons={}, clock=None) == replace(on_the_board, reasons={}, clock=None)


def test_wells_that_pumping_parts_are_not_said_to_drift_whoever_pumps(container: Container) -> None:
    """W4 walks away; its own steady pump excuses nothing, a neighbour's that is turned up does, and so does one that the log tells of."""
    registers = container.registers
    registers.add_station(
        Station("PW", StationKind.GEOTHERMAL_WELL, "PW", "PW", longitude_deg=120.73, latitude_deg=30.72), actor="t"
    )
    steady = registers.add_datastream(Datastream("W4", "abstraction_rate", "m3/h"), actor="t")
    begin = np.datetime64((NOW - 90 * DAY).replace(tzinfo=None), "us")
    times = begin + DAYS * np.timedelta64(1, "D") + np.timedelta64(6, "h")

    def told() -> tuple[str, str | None]:
        while container.rollups.refresh(1000):
            pass
        registers.forget()
        drift = station_health(container, "W4", NOW, DAY).drift
        assert drift is not None
        return drift.found.state.value, None if drift.found.doubt is None else drift.found.doubt.value

    def pump(stream: Datastream, rates: np.ndarray) -> None:
        batch = Batch("file", "pump", columns(stream.datastream_id or 0, times, rates), received_at=NOW)
        container.observations.commit(batch)

    pump(steady, np.full(DAYS.size, 12.0))
    assert told() == ("drifting", None)
    logged = registers.add_event(
        StationEvent("W3", EventKind.PUMP_STATE, NOW - 30 * DAY, effect=EventEffect.NONE, note="new pump"), actor="t"
    )
    assert told() == ("cannot_tell", "pumping")
    registers.withdraw_event(logged.event_id or 0, actor="t")
    assert told() == ("drifting", None)
    meter = registers.add_datastream(Datastream("PW", "abstraction_rate", "m3/h"), actor="t")
    assert told() == ("cannot_tell", "pumping")  # a meter of which nothing has come: not known is not nothing
    pump(meter, np.where(DAYS < 50, 20.0, 60.0))
    assert told() == ("cannot_tell", "pumping")
