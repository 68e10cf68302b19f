"""A database with a node, some properties and a maker of datastreams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from domain.model import Datastream, ObservedProperty, Station, StationKind
from storage.database import Database
from storage.observations import ObservationRepository
from storage.register_rows import Node
from storage.registers import RegisterRepository

MakeDatastream = Callable[[], Datastream]


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    with Database(database_url, max_size=12) as opened:
        yield opened


@pytest.fixture(scope="module")
def registers(database: Database) -> RegisterRepository:
    repository = RegisterRepository(database)
    repository.set_node(Node("test", "测试", "Test", "330400"))
    repository.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
    repository.upsert_property(ObservedProperty("height", "高程", "height", "m", "up", needs_datum=True))
    return repository


@pytest.fixture(scope="module")
def observations(database: Database) -> ObservationRepository:
    return ObservationRepository(database)


@pytest.fixture(scope="module")
def make_datastream(registers: RegisterRepository) -> MakeDatastream:
    numbers = count(1)

    def make() -> Datastream:
        code = f"S{next(numbers):04d}"
        registers.add_station(Station(code, StationKind.GNSS_MARK, code, code), actor="test")
        return registers.add_datastream(Datastream(code, "displacement_up", "mm"), actor="test")

    return make


@pytest.fixture
def datastream(make_datastream: MakeDatastream) -> Datastream:
    return make_datastream()
