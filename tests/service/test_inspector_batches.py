"""Quality control of many datastreams at once leaves the flags that each would get by itself, in any batching and order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
QUALITY = {"spike": [2, 5], "flat_h": [30, 48], "rate_per_h": [6, None], "suspect_span": [-3, 9], "months": {3: [-2, 8]}}
WELLS, SAMPLES = 6, 90


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A node with a property for the wells of these tests."""
    home: Path = tmp_path_factory.mktemp("home")
    with Container(Settings(home=home, database_url=database_url, mqtt_url="mqtt://127.0.0.1:9")) as made:
        made.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        made.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        yield made


def wells(container: Container, name: str) -> list[int]:
    made = []
    for number in range(WELLS):
        station = container.registers.add_station(
            Station(f"{name}{number}", StationKind.OBSERVATION_WELL, "井", "well"), actor="test"
        )
        attributes = {"quality": QUALITY} if number % 2 else {}
        stream = container.registers.add_datastream(
            Datastream(station.code, "depth_to_water", "m", attributes=attributes), actor="test"
        )
        made.append(stream.datastream_id or 0)
    return made


def record(rng: np.random.Generator) -> np.ndarray:
    """Hourly values that wander in steps, stand for days, jump once and lack some."""
    values = np.round(np.cumsum(rng.choice([0.0, 0.0, 0.5, -0.5], SAMPLES)) + 4.0, 1)
    values[20:60] = values[20]
    values[rng.choice([*range(1, 19), *range(62, 88)], 5)] += rng.choice([3.0, -7.0, 20.0], 5)
    values[rng.integers(0, SAMPLES, 3)] = np.nan
    return values


def commit(container: Container, identity: int, rows: np.ndarray, values: np.ndarray) -> None:
    times = np.datetime64(BEGIN.replace(tzinfo=None), "us") + rows.astype("timedelta64[h]")
    container.observations.commit(Batch("mqtt", "test", columns(identity, times, values[rows])))


def flags(container: Container, identity: int) -> list[tuple[int, tuple[str, ...]]]:
    page = container.observations.page(identity, None, None)
    return [(row.quality, tuple(row.quality_reasons or ())) for row in page]


@pytest.mark.parametrize("seed", range(4))
def test_flags_are_those_of_the_whole_record_whatever_the_batches(container: Container, seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = [record(rng) for _ in range(WELLS)]
    together, alone = wells(container, f"T{seed}-"), wells(container, f"A{seed}-")
    rows = [rng.permutation(SAMPLES) if seed % 2 else np.arange(SAMPLES) for _ in range(WELLS)]
    for begin in range(0, SAMPLES, step := int(rng.integers(3, 25))):
        for identity, order, values in zip(together, rows, records, strict=True):
            commit(container, identity, np.sort(order[begin : begin + step]), values)
        while container.inspector.run_once():
            pass
    for identity, values in zip(alone, records, strict=True):
        commit(container, identity, np.arange(SAMPLES), values)
        container.inspector.inspect(identity, BEGIN, BEGIN + timedelta(hours=SAMPLES))
    found = [flags(container, identity) for identity in together]
    assert found == [flags(container, identity) for identity in alone]
    assert {reason for one in found for _, reasons in one for reason in reasons} >= {"spike", "frozen"}
    for identity in together:
        assert container.inspector.inspect(identity, BEGIN, BEGIN + timedelta(hours=SAMPLES)) == 0


def test_other_figures_are_applied_to_the_neighbours_of_the_next_observation(container: Container) -> None:
    (identity, *_) = wells(container, "F")
    values = np.array([4.0, 4.1, 5.0, 4.2, 4.1, 4.0, 4.1, 4.2])
    commit(container, identity, np.arange(7), values)
    while container.inspector.run_once():
        pass
    assert {quality for quality, _ in flags(container, identity)} == {1}
    stream = container.registers.datastream_by_id(identity)
    assert stream is not None
    container.registers.update_datastream(replace(stream, attributes={"quality": {"spike": [0.5, None]}}), actor="test")
    commit(container, identity, np.array([7]), values)
    while container.inspector.run_once():
        pass
    assert flags(container, identity)[2] == (3, ("spike",))
