"""Limits are appended in versions: what held on a day is read for that day, and a change leaves work for what it applies to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from domain.licence import Licence, Limit
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from storage.database import Database
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository
from storage.work import WorkQueue

pytestmark = pytest.mark.stack
FIRST = Limit("deep", "depth_to_water", "m", 50.0, "control", "red", source="test")
TODAY = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()


@pytest.fixture
def database(own_database_url: str) -> Iterator[Database]:
    with Database(own_database_url) as found:
        yield found


@pytest.fixture
def registers(database: Database) -> RegisterRepository:
    found = RegisterRepository(database)
    found.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down positive"))
    found.upsert_property(ObservedProperty("temperature", "温度", "temperature", "m", "up"))
    rows = []
    for code, zone in (("W1", "north"), ("W2", "south")):
        found.add_station(Station(code, StationKind.OBSERVATION_WELL, "井", "well", zone_code=zone), actor="t")
        for name in ("depth_to_water", "temperature"):
            stream = found.add_datastream(Datastream(code, name, "m", aquifer="II"), actor="t")
            rows.append(
                columns(
                    stream.datastream_id or 0,
                    [np.datetime64("2026-01-01T00", "us"), np.datetime64("2026-01-02T00", "us")],
                    [1.0, 2.0],
                )
            )
    for part in rows:
        ObservationRepository(database).commit(Batch("file", "test", part))
    done(database)
    return found


def done(database: Database) -> set[tuple[str, str]]:
    """Take all that waits for rules and analytics and return it as (kind, datastream)."""
    queue, found = WorkQueue(database), set()
    reader = RegisterRepository(database)
    for kind in ("evaluate", "analyse", "quality"):
        with queue.claim(kind, 1000) as items:
            for datastream_id, begin, _ in items:
                stream = reader.datastream_by_id(datastream_id)
                assert stream is not None and begin == datetime(2026, 1, 1, tzinfo=UTC), "the whole record is judged anew"
                found.add((kind, stream.code))
    return found


def in_force(registers: RegisterRepository, *days: date) -> list[float | None]:
    return [next((item.value for item in registers.list_limits() if item.is_in_force(day)), None) for day in days]


def test_a_version_holds_from_its_day_until_the_next_or_its_end(registers: RegisterRepository) -> None:
    registers.upsert_limit(FIRST)
    registers.upsert_limit(replace(FIRST, value=40.0, effective_from=date(2025, 1, 1), effective_to=date(2027, 1, 1)))
    days = date(1990, 1, 1), date(2024, 12, 31), date(2025, 1, 1), date(2026, 12, 31), date(2027, 1, 1)
    assert in_force(registers, *days) == [50.0, 50.0, 40.0, 40.0, None]
    registers.upsert_limit(replace(FIRST, value=45.0, effective_from=date(2023, 1, 1)))  # one in between, told later
    assert in_force(registers, *days) == [50.0, 45.0, 40.0, 40.0, None]
    registers.upsert_limit(replace(FIRST, value=44.0, effective_from=date(2023, 1, 1)))  # the same day again corrects it
    assert in_force(registers, *days)[1] == 44.0 and len(registers.list_limits()) == 3


def test_a_change_without_a_day_begins_today_and_the_same_again_changes_nothing(
    registers: RegisterRepository, database: Database
) -> None:
    registers.upsert_limit(FIRST)
    registers.upsert_limit(FIRST)
    done(database)
    registers.upsert_limit(replace(FIRST, value=40.0))
    assert done(database)
    registers.upsert_limit(replace(FIRST, value=40.0))
    assert done(database) == set(), "nothing changed and everything is judged anew"
    first, second = registers.list_limits()
    assert (first.effective_from, first.effective_to, second.effective_from) == (None, TODAY, TODAY)


def test_a_limit_leaves_work_for_what_it_applies_to_alone_and_where_it_applied_before(
    registers: RegisterRepository, database: Database
) -> None:
    registers.upsert_limit(replace(FIRST, zone_code="north"))
    assert done(database) == {("evaluate", "W1:depth_to_water"), ("analyse", "W1:depth_to_water")}
    registers.upsert_limit(replace(FIRST, zone_code="south", effective_from=date(2025, 1, 1)))
    assert {code for _, code in done(database)} == {"W1:depth_to_water", "W2:depth_to_water"}
    registers.upsert_limit(replace(FIRST, code="other", aquifer="III"))
    registers.upsert_limit(replace(FIRST, code="other", station="w2", aquifer="III"))
    assert done(database) == set(), "nothing lies in that aquifer"
    registers.upsert_limit(replace(FIRST, code="there", station="w2"))
    assert {code for _, code in done(database)} == {"W2:depth_to_water"}


def test_a_licence_leaves_work_for_its_station(registers: RegisterRepository, database: Database) -> None:
    licence = Licence("L", "W1", "holder", date(2020, 1, 1), date(2030, 1, 1), quota_m3_per_a=1.0, source="test")
    registers.upsert_licence(licence)
    assert done(database) == {("evaluate", "W1:depth_to_water"), ("evaluate", "W1:temperature")}
    registers.upsert_licence(licence)
    assert done(database) == set()
    registers.upsert_licence(replace(licence, quota_m3_per_a=2.0, effective_from=date(2025, 1, 1)))
    assert done(database) == {("evaluate", "W1:depth_to_water"), ("evaluate", "W1:temperature")}


def test_what_another_process_changed_is_seen_at_the_next_look(registers: RegisterRepository, database: Database) -> None:
    worker = RegisterRepository(database)
    stream, station = worker.datastream("W1:depth_to_water"), worker.station("W1")
    assert stream is not None and station is not None
    worker.look()
    assert worker.limits(stream, station) == [] and worker.licences("W1") == []
    registers.upsert_limit(FIRST)
    registers.upsert_licence(Licence("L", "W1", "h", date(2020, 1, 1), date(2030, 1, 1), source="test"))
    worker.look()
    assert [item.value for item in worker.limits(stream, station)] == [50.0] and len(worker.licences("W1")) == 1
