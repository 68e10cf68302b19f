"""Registers read together: what many messages name is known afterwards without a question to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from domain.errors import UnavailableError
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from storage.database import Connection, Database
from storage.observations import ObservationRepository
from storage.register_lookups import SQL
from storage.registers import RegisterRepository

pytestmark = pytest.mark.stack


def test_stations_read_together_are_known_with_their_datastreams_when_the_database_is_gone(database_url: str) -> None:
    with Database(database_url, wait_s=1.0) as database:
        writer = RegisterRepository(database)
        writer.upsert_property(ObservedProperty("depth_to_water", "水位埋深", "depth to water", "m", "down positive"))
        codes = [f"TOGETHER{number}" for number in range(6)]
        for code in codes:
            writer.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
            writer.add_datastream(Datastream(code, "depth_to_water", "m"), actor="t")
        reader = RegisterRepository(database)
        reader.prepare_stations([*codes, "NOBODY"])
    for code in codes:
        station, datastream = reader.station(code), reader.datastream(f"{code}:depth_to_water")
        assert station is not None and datastream is not None
        assert reader.datastream_by_id(datastream.datastream_id or 0) == datastream
    with pytest.raises(UnavailableError):
        reader.station("NOBODY")


class After:
    """A connection on which something happens after one statement."""

    def __init__(self, connection: Connection, statement: bytes, happens: Callable[[], object]) -> None:
        self._connection, self._statement, self._happens = connection, statement, happens

    def execute(self, statement: bytes, *arguments: Any) -> Any:
        found = self._connection.execute(statement, *arguments)
        if statement == self._statement:
            self._happens()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_when_stations_were_heard_of_is_told_with_the_very_sequence_that_it_is_of(
    database: Database, observations: ObservationRepository, registers: RegisterRepository, datastream: Datastream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    identity = datastream.datastream_id or 0
    times = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[us]")

    def commit(number: int) -> None:
        observations.commit(Batch("file", "test", columns(identity, times[number : number + 1], [1.0])))

    commit(0)
    before = observations.current_seq()
    transaction = database.transaction

    @contextmanager
    def lent() -> Iterator[After]:
        with transaction() as connection:
            monkeypatch.undo()
            yield After(connection, SQL.current_seq, lambda: commit(1))

    monkeypatch.setattr(database, "transaction", lent)
    seq, heard = registers.heard([identity])
    assert seq == before < observations.current_seq()
    assert heard[identity].last_time == datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    seq, heard = registers.heard([identity])
    assert seq == observations.current_seq()
    assert heard[identity].last_time == datetime.fromisoformat("2026-01-02T00:00:00+00:00")
