"""Scenario 17: a well's totaliser rolls over, is swapped, falls with no record, and stands for 48 h while the water runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from domain.model import Datastream, EventKind, Station, StationEvent, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.jobs import evaluate_once
from service.settings import Settings
from storage.observations import ObservationRow
from storage.register_rows import Node

pytestmark = pytest.mark.stack

ZONE = ZoneInfo("Asia/Shanghai")
BEGIN = datetime(2026, 3, 1, tzinfo=ZONE)
NUMBERS = count(1)


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="Asia/Shanghai"))
        yield opened


def well(container: Container, *properties: tuple[str, str]) -> tuple[Datastream, ...]:
    code = f"DR{next(NUMBERS):02d}"
    container.registers.add_station(Station(code, StationKind.GEOTHERMAL_WELL, code, code), actor="test")
    return tuple(
        container.registers.add_datastream(Datastream(code, name, unit, interval_s=3600.0), actor="test")
        for name, unit in (("abstraction_total", "m3"), *properties)
    )


def key(datastream: Datastream) -> int:
    assert datastream.datastream_id is not None
    return datastream.datastream_id


def send(container: Container, datastream: Datastream, hours: np.ndarray, values: np.ndarray) -> None:
    begin = np.datetime64(BEGIN.astimezone(UTC).replace(tzinfo=None), "us")
    times = begin + np.asarray(hours) * np.timedelta64(1, "h")
    container.observations.commit(Batch("mqtt", "test", columns(key(datastream), times, values)))


def judge(container: Container) -> None:
    while evaluate_once(container):
        pass


def volumes(container: Container, meter: Datastream) -> list[ObservationRow]:
    derived = container.registers.datastream(f"{meter.station}:abstraction_volume:daily")
    assert derived is not None
    return container.observations.page(key(derived), None, None, limit=100)


def findings(container: Container, meter: Datastream) -> list[str]:
    return [row.kind for row in container.analyses.findings(key(meter))]


def flags(container: Container, meter: Datastream) -> list[tuple[int, tuple[str, ...]]]:
    rows = container.observations.page(key(meter), None, None, limit=1000)
    return [(row.quality, tuple(row.quality_reasons or ())) for row in rows]


def test_a_rollover_is_fourteen_cubic_metres(container: Container) -> None:
    (meter,) = well(container)
    readings = np.concatenate((999_998.0 - 14.0 * np.arange(36)[::-1], 12.0 + 14.0 * np.arange(13)))
    send(container, meter, np.arange(49), readings)
    judge(container)
    days = volumes(container, meter)
    assert [(day.phenomenon_time, day.phenomenon_end) for day in days] == [
        (BEGIN.astimezone(UTC), (BEGIN + timedelta(days=1)).astimezone(UTC)),
        ((BEGIN + timedelta(days=1)).astimezone(UTC), (BEGIN + timedelta(days=2)).astimezone(UTC)),
    ]
    assert [day.result for day in days] == pytest.approx([24 * 14.0, 24 * 14.0])
    assert [(day.quality, day.quality_reasons) for day in days] == [(1, None), (1, ["totaliser"])]
    assert {quality for quality, _ in flags(container, meter)} == {1}
    assert findings(container, meter) == []


def test_a_swap_on_record_is_no_tampering(container: Container) -> None:
    (meter,) = well(container)
    old, new = 48_211.0 - 10.0 * np.arange(30)[::-1], 10.0 * np.arange(19)
    send(container, meter, np.arange(49), np.concatenate((old, new)))
    swap = StationEvent(meter.station, EventKind.SENSOR_SWAP, BEGIN + timedelta(hours=29, minutes=30), note="meter replaced")
    container.registers.add_event(swap, "W. Chen")
    judge(container)
    assert findings(container, meter) == []
    days = volumes(container, meter)
    assert [day.result for day in days] == pytest.approx([240.0, 230.0])
    assert (days[1].quality, days[1].quality_reasons) == (2, ["totaliser"])


def test_a_fall_with_no_record_is_suspected_until_somebody_records_the_swap(container: Container) -> None:
    (meter,) = well(container)
    old, new = 48_211.0 - 10.0 * np.arange(30)[::-1], 10.0 * np.arange(19)
    send(container, meter, np.arange(49), np.concatenate((old, new)))
    judge(container)
    assert findings(container, meter) == ["tamper"]
    assert flags(container, meter)[30] == (3, ("tamper",))
    days = volumes(container, meter)
    assert [day.result for day in days] == [pytest.approx(240.0), None]
    assert (days[1].quality, days[1].quality_reasons) == (9, ["tamper"])
    late = StationEvent(meter.station, EventKind.SENSOR_SWAP, BEGIN + timedelta(hours=29, minutes=30), note="found in the book")
    container.registers.add_event(late, "W. Chen")
    judge(container)
    assert findings(container, meter) == []
    assert {quality for quality, _ in flags(container, meter)} == {1}
    assert [day.result for day in volumes(container, meter)] == pytest.approx([240.0, 230.0])


def test_a_counter_that_stands_while_the_temperature_moves_has_an_unknown_volume(container: Container) -> None:
    meter, temperature = well(container, ("wellhead_temperature", "Cel"))
    hours = np.arange(24 * 6 + 1)
    readings = 5_000.0 + 12.0 * np.minimum(hours, 48)
    send(container, temperature, hours, 52.0 + 3.0 * np.sin(hours / 3.0))
    for part in np.array_split(hours, 12):  # as it comes in: the verdict falls when 48 h are over, and reaches back
        send(container, meter, part, readings[part])
        judge(container)
    days = volumes(container, meter)
    assert [day.result for day in days] == [pytest.approx(288.0), pytest.approx(288.0), None, None, None, None]
    assert {(day.quality, tuple(day.quality_reasons or ())) for day in days[2:]} == {(9, ("frozen",))}
    assert findings(container, meter) == ["frozen"]
    said = flags(container, meter)
    assert set(said[:49]) == {(1, ())}
    assert set(said[49:]) == {(3, ("frozen",))}
    while container.rollups.refresh(1000):
        pass
    derived = container.registers.datastream(f"{meter.station}:abstraction_volume:daily")
    assert derived is not None
    (month,) = container.observations.buckets(key(derived), None, None, "1mo")
    assert (month.n, month.n_good, month.sum) == (6, 2, pytest.approx(576.0))


def test_a_counter_that_stands_while_the_well_is_off_has_gained_nothing(container: Container) -> None:
    meter, rate = well(container, ("abstraction_rate", "m3/h"))
    hours = np.arange(24 * 5 + 1)
    send(container, rate, hours, np.where(hours < 48, 12.0, 0.0))
    send(container, meter, hours, 5_000.0 + 12.0 * np.minimum(hours, 48))
    judge(container)
    assert [day.result for day in volumes(container, meter)] == pytest.approx([288.0, 288.0, 0.0, 0.0, 0.0], abs=1e-9)
    assert findings(container, meter) == []


def test_flow_and_counter_that_disagree_are_told(container: Container) -> None:
    meter, rate = well(container, ("abstraction_rate", "m3/h"))
    hours = np.arange(24 * 3 + 1)
    send(container, rate, hours, np.full(hours.size, 12.0))
    send(container, meter, hours, 5_000.0 + np.where(hours <= 48, 12.0 * hours, 12.0 * 48 + 9.0 * (hours - 48)))
    judge(container)
    assert [tuple(day.quality_reasons or ()) for day in volumes(container, meter)] == [(), (), ("flow_mismatch",)]
