"""Roll-ups equal what is computed from the observations, in the node's zone, after corrections too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from domain.errors import ConflictError, RequestError
from domain.model import Datastream
from domain.observation import Batch, columns
from storage.database import Database
from storage.observations import BucketRow, ObservationRepository
from storage.registers import RegisterRepository
from storage.rollups import RollupRepository, join_spans
from tests.storage.batches import batch_of, id_of

pytestmark = pytest.mark.stack


@pytest.fixture
def rollups(database: Database, registers: RegisterRepository) -> Iterator[RollupRepository]:
    node = registers.node()
    assert node is not None
    yield RollupRepository(database)
    registers.set_node(node)


def begin_of(moment: datetime, resolution: str, zone: ZoneInfo) -> datetime:
    if resolution == "1h":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    day = day.replace(day=1) if resolution == "1mo" else day
    return day.replace(tzinfo=zone).astimezone(UTC)


def expected(observations: ObservationRepository, stream: int, resolution: str, zone: str) -> list[BucketRow]:
    groups: dict[datetime, list[tuple[float | None, int]]] = {}
    for row in observations.page(stream, None, None, limit=100_000):
        groups.setdefault(begin_of(row.phenomenon_time, resolution, ZoneInfo(zone)), []).append((row.result, row.quality))
    buckets = []
    for begin, rows in groups.items():
        good = [value for value, quality in rows if quality in (1, 2) and value is not None]
        facts = (sum(good) / len(good), min(good), max(good), sum(good), good[0], good[-1]) if good else (None,) * 6
        buckets.append(BucketRow(begin, len(rows), len(good), *facts))
    return buckets


def assert_alike(found: list[BucketRow], wanted: list[BucketRow]) -> None:
    assert [(row.bucket, row.n, row.n_good) for row in found] == [(row.bucket, row.n, row.n_good) for row in wanted]
    for name in ("mean", "min", "max", "sum", "first", "last"):
        left = [np.nan if getattr(row, name) is None else getattr(row, name) for row in found]
        right = [np.nan if getattr(row, name) is None else getattr(row, name) for row in wanted]
        np.testing.assert_allclose(left, right, rtol=1e-12, err_msg=name)


def drain(rollups: RollupRepository) -> None:
    while rollups.refresh(100):
        pass


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("resolution", ["1h", "1d", "1mo"])
def test_buckets_equal_the_observations(
    rollups: RollupRepository,
    registers: RegisterRepository,
    observations: ObservationRepository,
    datastream: Datastream,
    zone: str,
    resolution: str,
) -> None:
    node = registers.node()
    assert node is not None
    registers.set_node(replace(node, zone=zone))
    generator = np.random.default_rng(7)
    numbers = np.sort(generator.choice(24 * 200, size=900, replace=False))
    values = generator.normal(size=900)
    values[::17] = np.nan
    quality = np.where(np.isnan(values), 9, generator.choice([1, 2, 3, 4], size=900))
    observations.commit(batch_of(datastream, numbers, values, quality=quality))
    drain(rollups)
    stream = id_of(datastream)
    assert_alike(observations.buckets(stream, None, None, resolution), expected(observations, stream, resolution, zone))
    observations.commit(batch_of(datastream, numbers[100:120], np.arange(20.0)))
    drain(rollups)
    assert_alike(observations.buckets(stream, None, None, resolution), expected(observations, stream, resolution, zone))


def test_a_day_is_the_nodes_own_in_the_year_of_summer_time(
    rollups: RollupRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    time = np.arange("1986-05-01", "1986-05-08", dtype="datetime64[h]").astype("datetime64[us]")
    observations.commit(Batch("file", "1986", columns(id_of(datastream), time, np.ones(len(time)))))
    drain(rollups)
    found = observations.buckets(id_of(datastream), None, None, "1d")
    assert_alike(found, expected(observations, id_of(datastream), "1d", "Asia/Shanghai"))
    assert 23 in {row.n for row in found}


def test_another_zone_builds_the_days_again(
    rollups: RollupRepository, registers: RegisterRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    observations.commit(batch_of(datastream, range(48), np.arange(48.0)))
    drain(rollups)
    node = registers.node()
    assert node is not None
    registers.set_node(replace(node, zone="Asia/Urumqi"))
    drain(rollups)
    found = observations.buckets(id_of(datastream), None, None, "1d")
    assert found[0].bucket == datetime(2023, 12, 31, 18, tzinfo=UTC)
    assert sum(row.n for row in found) == 48
    with pytest.raises(ConflictError, match="not a time zone"):
        registers.set_node(replace(node, zone="Asia/Jiaxing"))


def test_an_unknown_resolution_is_refused(observations: ObservationRepository) -> None:
    with pytest.raises(RequestError):
        observations.buckets(1, None, None, "1w")


def test_spans_that_touch_are_refreshed_once() -> None:
    day = timedelta(days=1)
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    spans = [(begin + 10 * day, begin + 11 * day), (begin, begin + day), (begin + 5000 * day, begin + 5001 * day)]
    assert join_spans(spans) == [(begin, begin + 11 * day), (begin + 5000 * day, begin + 5001 * day)]
