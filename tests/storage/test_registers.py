"""Registers read together: what many messages name is known afterwards without a question to the database."""

from __future__ import annotations

import pytest

from domain.errors import UnavailableError
from domain.model import Datastream, ObservedProperty, Station, StationKind
from storage.database import Database
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
