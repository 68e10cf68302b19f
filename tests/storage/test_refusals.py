"""What the schema itself refuses, whoever writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from domain.errors import ConflictError, NotFoundError
from domain.model import Datastream, EventKind, ObservedProperty, Sensor, Station, StationEvent, StationKind
from storage.database import Database
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository
from storage.work import WorkQueue
from tests.storage.batches import batch_of, id_of
from tests.storage.conftest import MakeDatastream

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def station(registers: RegisterRepository) -> Station:
    return registers.add_station(Station("R1", StationKind.BENCHMARK, "甲", "R1"), actor="test")


def test_a_datastream_without_unit_is_refused(registers: RegisterRepository, station: Station) -> None:
    with pytest.raises(ConflictError, match="unit"):
        registers.add_datastream(Datastream("R1", "displacement_up", ""), actor="test")


def test_a_height_without_datum_is_refused(registers: RegisterRepository, station: Station) -> None:
    with pytest.raises(ConflictError, match="a_height_has_a_datum"):
        registers.add_datastream(Datastream("R1", "height", "m"), actor="test")


def test_a_height_in_an_unknown_datum_is_refused(registers: RegisterRepository, station: Station) -> None:
    with pytest.raises(ConflictError, match="datum"):
        registers.add_datastream(Datastream("R1", "height", "m", datum_code="NOWHERE"), actor="test")


@pytest.mark.parametrize("column", ["method", "method_version", "method_parameters", "input_digest"])
def test_a_derived_datastream_without_its_method_is_refused(database: Database, datastream: Datastream, column: str) -> None:
    values = {"method": "m", "method_version": "1", "method_parameters": "{}", "input_digest": "d", column: None}
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="a_derived_datastream_has_a_method"),
        database.transaction() as connection,
    ):
        connection.execute(
            "UPDATE datastream SET derived = true, method = %(method)s, method_version = %(method_version)s, "
            "method_parameters = %(method_parameters)s, input_digest = %(input_digest)s WHERE id = %(id)s",
            {**values, "id": id_of(datastream)},
        )


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("ledger", "reference"),
        ("raw_payload", "source"),
        ("observation_revision", "quality_reasons"),
        ("audit_log", "actor"),
        ("alert_transition", "reason"),
        ("cap_message", "body"),
    ],
)
def test_what_is_append_only_stays(database: Database, table: str, column: str) -> None:
    with database.transaction() as connection:
        triggers = connection.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgfoid = 'refuse_change'::regproc "
            "AND tgtype & 24 = 24",
            [table],
        ).fetchone()
    assert triggers == (1,)


def test_the_ledger_cannot_be_changed(database: Database, station: Station) -> None:
    for statement in ("UPDATE ledger SET reference = 'x'", "DELETE FROM ledger"):
        with (
            pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"),
            database.transaction() as connection,
        ):
            connection.execute(statement.encode())


def test_a_revision_cannot_be_changed(database: Database, observations: ObservationRepository, datastream: Datastream) -> None:
    observations.commit(batch_of(datastream, [0], [1.0]))
    observations.commit(batch_of(datastream, [0], [2.0]))
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"), database.transaction() as connection:
        connection.execute("DELETE FROM observation_revision WHERE datastream_id = %s", [id_of(datastream)])


def test_a_code_is_taken_whatever_its_case(registers: RegisterRepository, station: Station) -> None:
    with pytest.raises(ConflictError):
        registers.add_station(Station("r1", StationKind.BENCHMARK, "乙", "r1"), actor="test")
    assert registers.station("r1") == station


def test_a_property_in_use_keeps_its_unit(registers: RegisterRepository, datastream: Datastream) -> None:
    with pytest.raises(ConflictError, match="cannot become cm"):
        registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "cm", "up"))


def test_a_station_is_changed_and_other_readers_see_it(
    registers: RegisterRepository, database: Database, station: Station
) -> None:
    other = RegisterRepository(database, clock=lambda: 0.0)
    assert other.station("R1") is not None
    registers.update_station(replace(station, name_en="Renamed", tags=("deep",)), actor="test")
    seen = registers.station("R1")
    assert seen is not None
    assert (seen.name_en, seen.tags) == ("Renamed", ("deep",))
    other.forget()
    assert other.station("R1") == seen


def test_a_sensor_belongs_to_its_station(registers: RegisterRepository, station: Station) -> None:
    added = registers.add_sensor(Sensor("R1", "top", model="X", calibration={"a": 1.5}), actor="test")
    assert registers.sensors("r1") == [added]
    with pytest.raises(NotFoundError):
        registers.add_datastream(Datastream("R1", "displacement_up", "mm", sensor="bottom"), actor="test")
    stored = registers.add_datastream(Datastream("R1", "displacement_up", "mm", sensor="top"), actor="test")
    assert registers.datastream("r1:displacement_up") == stored


def test_an_event_has_its_datastreams_analysed_again(
    registers: RegisterRepository, observations: ObservationRepository, database: Database, make_datastream: MakeDatastream
) -> None:
    datastream, queue = make_datastream(), WorkQueue(database)
    observations.commit(batch_of(datastream, [0, 9], [1.0, 2.0]))
    with queue.claim("analyse", 100_000):
        pass
    event = registers.add_event(
        StationEvent(datastream.station, EventKind.ANTENNA_CHANGE, datetime(2024, 1, 1, 3, tzinfo=UTC)), actor="test"
    )
    assert list(registers.events(datastream.station)) == [event]
    with queue.claim("analyse", 100_000) as items:
        assert [item[0] for item in items] == [id_of(datastream)]
    registers.withdraw_event(event.event_id or 0, "test")
    assert list(registers.events(datastream.station)) == []
    assert queue.pending("analyse").count == 1
    with pytest.raises(NotFoundError):
        registers.withdraw_event(event.event_id or 0, "test")


def test_the_hot_path_asks_once(database: Database, datastream: Datastream, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    registers = RegisterRepository(database, clock=lambda: now[0])
    asked: list[str] = []
    for name in ("transaction", "single"):
        lend = getattr(database, name)
        monkeypatch.setattr(database, name, lambda lend=lend: asked.append("") or lend())
    for _ in range(100):
        assert registers.datastream(datastream.code) == datastream
        assert registers.datastream("nobody:displacement_up") is None
    assert len(asked) == 2
    now[0] = 1.5
    assert registers.datastream("nobody:displacement_up") is None
    assert registers.datastream(datastream.code) == datastream
    assert len(asked) == 3
    now[0] = 10.0
    assert registers.datastream(datastream.code) == datastream
    assert len(asked) == 4
