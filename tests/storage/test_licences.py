"""Licences are appended in versions: what held on a day is read for that day, and what was stored once stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from domain.errors import ConflictError, NotFoundError
from domain.licence import Licence
from domain.model import Station, StationKind
from storage.database import Database
from storage.registers import RegisterRepository

pytestmark = pytest.mark.stack
FIRST = Licence("L1", "GT1", "holder", date(2020, 1, 1), date(2030, 12, 31), quota_m3_per_a=300_000.0, source="test")


@pytest.fixture
def registers(own_database_url: str) -> Iterator[RegisterRepository]:
    with Database(own_database_url) as database:
        found = RegisterRepository(database)
        found.add_station(Station("GT1", StationKind.GEOTHERMAL_WELL, "井", "well"), actor="t")
        yield found


def dated(day: date | None, **changed: object) -> Licence:
    return Licence(**{**{name: getattr(FIRST, name) for name in FIRST.__dataclass_fields__}, "effective_from": day, **changed})  # type: ignore[arg-type]


def quotas(registers: RegisterRepository, *days: date) -> list[float | None]:
    versions = registers.licences("GT1")
    return [next((item.quota_m3_per_a for item in versions if item.is_in_force(day)), None) for day in days]


def test_a_version_holds_from_its_day_until_the_next(registers: RegisterRepository) -> None:
    registers.upsert_licence(FIRST)
    registers.upsert_licence(dated(date(2025, 1, 1), quota_m3_per_a=200_000.0))
    days = date(2019, 12, 31), date(2020, 1, 1), date(2024, 12, 31), date(2025, 1, 1), date(2030, 12, 31), date(2031, 1, 1)
    assert quotas(registers, *days) == [None, 300_000.0, 300_000.0, 200_000.0, 200_000.0, None]
    registers.upsert_licence(dated(date(2023, 1, 1), quota_m3_per_a=250_000.0))  # one in between, told later
    assert quotas(registers, *days) == [None, 300_000.0, 250_000.0, 200_000.0, 200_000.0, None]


def test_a_change_without_a_day_begins_today_and_the_same_again_changes_nothing(registers: RegisterRepository) -> None:
    registers.upsert_licence(FIRST)
    registers.upsert_licence(FIRST)
    assert len(registers.list_licences()) == 1
    registers.upsert_licence(dated(None, quota_m3_per_a=200_000.0))
    registers.upsert_licence(dated(None, quota_m3_per_a=200_000.0))
    first, second = registers.list_licences()
    today = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date()
    assert (first.effective_from, second.effective_from) == (date(2020, 1, 1), today)
    assert first.superseded_on == today


def test_a_version_of_the_same_day_corrects_the_one_before(registers: RegisterRepository) -> None:
    registers.upsert_licence(FIRST)
    registers.upsert_licence(dated(date(2020, 1, 1), quota_m3_per_a=30_000.0))
    assert quotas(registers, date(2020, 1, 1)) == [30_000.0] and len(registers.list_licences()) == 1


def test_a_licence_that_cannot_be_is_refused(registers: RegisterRepository) -> None:
    with pytest.raises(NotFoundError, match="NOWHERE"):
        registers.upsert_licence(dated(None, station="NOWHERE"))
    with pytest.raises(ConflictError):
        registers.upsert_licence(dated(None, valid_to=date(2019, 1, 1)))
    assert registers.list_licences() == []
