"""One schema, one result, whichever edition of TimescaleDB serves: Apache (tables) or Community (continuous aggregates, compression).

Every test runs on both and asserts the same results. Only where the editions must differ, in how a roll-up is kept and whether old
chunks are compressed, is the expectation looked up by `edition`. `pack` brings the store into the state that it has after years of
service: every background policy has run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from domain.errors import ConfigurationError
from domain.model import Datastream
from domain.observation import Batch, columns
from storage import migrate as migrate_module
from storage.database import Database
from storage.migrate import edition, migrate
from storage.observations import BucketRow, ObservationRepository
from storage.registers import RegisterRepository
from storage.rollups import RollupRepository
from tests.storage.batches import id_of
from tests.storage.conftest import MakeDatastream

pytestmark = pytest.mark.stack

RELATION_KIND = {"apache": "r", "timescale": "v"}
POLICIES = {
    "apache": [],
    "timescale": [
        "policy_compression",
        "policy_refresh_continuous_aggregate",
        "policy_refresh_continuous_aggregate",
        "policy_refresh_continuous_aggregate",
    ],
}
COMPRESSES = {"apache": False, "timescale": True}

OBSERVATION_COLUMNS = [
    ("datastream_id", "integer"),
    ("phenomenon_time", "timestamp with time zone"),
    ("phenomenon_end", "timestamp with time zone"),
    ("result", "double precision"),
    ("sigma", "double precision"),
    ("quality", "smallint"),
    ("quality_reasons", "ARRAY"),
    ("result_time", "timestamp with time zone"),
    ("received_at", "timestamp with time zone"),
    ("batch_id", "bigint"),
    ("source_quality", "smallint"),
    ("source_reasons", "ARRAY"),
]
ROLLUP_COLUMNS = [
    ("datastream_id", "integer"),
    ("bucket", "timestamp with time zone"),
    ("n", "bigint"),
    ("n_good", "bigint"),
    ("mean", "double precision"),
    ("min", "double precision"),
    ("max", "double precision"),
    ("sum", "double precision"),
    ("first", "double precision"),
    ("last", "double precision"),
]
RELATIONS = {
    "observation": OBSERVATION_COLUMNS,
    "observation_1h": ROLLUP_COLUMNS,
    "observation_1d": ROLLUP_COLUMNS,
    "observation_1mo": ROLLUP_COLUMNS,
}

# Without any function of TimescaleDB, so that it cannot share a mistake with what it checks.
PLAIN_AGGREGATE = """
    SELECT date_trunc(%(unit)s, phenomenon_time, %(zone)s) AS bucket, count(*) AS n, count(good) AS n_good, avg(good) AS mean,
           min(good) AS min, max(good) AS max, sum(good) AS sum,
           (array_agg(good ORDER BY phenomenon_time) FILTER (WHERE good IS NOT NULL))[1] AS first,
           (array_agg(good ORDER BY phenomenon_time DESC) FILTER (WHERE good IS NOT NULL))[1] AS last
    FROM (SELECT phenomenon_time, CASE WHEN quality IN (1, 2) THEN result END AS good
          FROM observation WHERE datastream_id = %(datastream_id)s) AS raw
    GROUP BY 1 ORDER BY 1
"""
UNITS = {"1h": ("hour", "UTC"), "1d": ("day", "Asia/Shanghai"), "1mo": ("month", "Asia/Shanghai")}

LONG_AGO = np.datetime64("2015-03-01T00:00", "us")
"""Old enough for the compression policy (two years), recent enough for +08 without summer time."""

BEGIN_2010 = datetime(2010, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def served_by(database_url: str) -> str:
    return edition(database_url)


@pytest.fixture
def rollups(database: Database, registers: RegisterRepository) -> Iterator[RollupRepository]:
    node = registers.node()
    assert node is not None
    yield RollupRepository(database)
    registers.set_node(node)


def hours_after(begin: np.datetime64, numbers: Any) -> Any:
    return begin + np.asarray(numbers) * np.timedelta64(1, "h")


def batch(datastream: Datastream, time: Any, values: Any, **more: Any) -> Batch:
    return Batch("file", "test", columns(id_of(datastream), time, values, **more))


def drain(rollups: RollupRepository) -> None:
    while rollups.refresh(100):
        pass


def pack(database: Database) -> None:
    """Run every background policy now, as the server does in time (there are none on the Apache edition)."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        jobs = connection.execute("SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL").fetchall()
        for (job,) in jobs:
            connection.execute("CALL run_job(%s)", [job])


def has_compressed(database: Database, moment: np.datetime64) -> bool:
    """Tell whether the chunk that holds a moment is compressed."""
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT is_compressed FROM timescaledb_information.chunks "
            "WHERE hypertable_name = 'observation' AND range_start <= %(moment)s AND range_end > %(moment)s",
            {"moment": moment.astype(datetime).replace(tzinfo=UTC)},
        ).fetchone()
    assert row is not None
    return bool(row[0])


def plain(database: Database, datastream: Datastream, resolution: str) -> list[BucketRow]:
    unit, zone = UNITS[resolution]
    with database.transaction() as connection:
        found = connection.execute(PLAIN_AGGREGATE, {"unit": unit, "zone": zone, "datastream_id": id_of(datastream)})
        return [BucketRow(*row) for row in found]


def assert_rollups_equal_the_rows(database: Database, datastream: Datastream) -> None:
    observations = ObservationRepository(database)
    for resolution in UNITS:
        found = observations.buckets(id_of(datastream), None, None, resolution)
        wanted = plain(database, datastream, resolution)
        assert wanted
        assert [(row.bucket, row.n, row.n_good) for row in found] == [(row.bucket, row.n, row.n_good) for row in wanted]
        left, right = (np.array([astuple(row)[3:] for row in rows], dtype=np.float64) for rows in (found, wanted))
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12, err_msg=resolution)


def test_names_and_columns_are_the_same(database: Database) -> None:
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name ~ '^observation(_1.*)?$' ORDER BY table_name, ordinal_position"
        ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows:
        found.setdefault(table, []).append((column, kind))
    assert found == RELATIONS


def test_the_edition_decides_how_rollups_are_kept_and_nothing_else(database: Database, served_by: str) -> None:
    with database.transaction() as connection:
        kinds = connection.execute("SELECT relkind::text FROM pg_class WHERE relname ~ '^observation_1(h|d|mo)$'").fetchall()
        policies = connection.execute(
            "SELECT proc_name FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY proc_name"
        ).fetchall()
    assert kinds == [(RELATION_KIND[served_by],)] * 3
    assert [name for (name,) in policies] == POLICIES[served_by]


def test_rollups_equal_the_rows_after_backfill_and_corrections(
    database: Database, rollups: RollupRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    generator = np.random.default_rng(20150301)
    numbers = np.sort(generator.choice(24 * 400, size=1500, replace=False))
    values = generator.normal(size=1500)
    values[::19] = np.nan
    quality = np.where(np.isnan(values), 9, generator.choice([1, 2, 3, 4], size=1500))
    begin = np.datetime64("2023-06-01", "us")
    observations.commit(batch(datastream, hours_after(begin, numbers), values, quality=quality))
    drain(rollups)
    assert_rollups_equal_the_rows(database, datastream)
    # Late: into the midst of what is materialised, and eight years before everything that is.
    gaps = np.setdiff1d(np.arange(24 * 400), numbers)[::7]
    observations.commit(batch(datastream, hours_after(begin, gaps), np.cos(gaps)))
    observations.commit(batch(datastream, hours_after(LONG_AGO, range(0, 3000, 5)), np.arange(600.0)))
    drain(rollups)
    assert_rollups_equal_the_rows(database, datastream)
    corrected = observations.commit(batch(datastream, hours_after(begin, gaps[10:90]), np.full(80, -3.25)))
    assert corrected.corrected == 80
    drain(rollups)
    assert_rollups_equal_the_rows(database, datastream)


def test_a_day_begins_at_midnight_of_the_nodes_zone(
    rollups: RollupRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    time = np.array(["2015-06-30T15:59:59.999999", "2015-06-30T16:00:00"], dtype="datetime64[us]")
    observations.commit(batch(datastream, time, [1.0, 2.0]))
    drain(rollups)
    found = {
        resolution: [(row.bucket, row.n, row.mean) for row in observations.buckets(id_of(datastream), None, None, resolution)]
        for resolution in UNITS
    }
    begin_of_july = datetime(2015, 6, 30, 16, tzinfo=UTC)
    assert found == {
        "1h": [(begin_of_july - timedelta(hours=1), 1, 1.0), (begin_of_july, 1, 2.0)],
        "1d": [(begin_of_july - timedelta(days=1), 1, 1.0), (begin_of_july, 1, 2.0)],
        "1mo": [(begin_of_july - timedelta(days=30), 1, 1.0), (begin_of_july, 1, 2.0)],
    }


def test_a_commit_into_the_current_hour_is_rolled_up_at_once(
    database: Database, rollups: RollupRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None, microsecond=0), "us")
    for back in (180, 120, 60, 0):
        observations.commit(batch(datastream, [now - np.timedelta64(back, "s")], [float(back)]))
        drain(rollups)
        assert_rollups_equal_the_rows(database, datastream)


def test_old_chunks_take_backfill_corrections_and_repeats(
    database: Database,
    rollups: RollupRepository,
    observations: ObservationRepository,
    make_datastream: MakeDatastream,
    served_by: str,
) -> None:
    datastream, newcomer = make_datastream(), make_datastream()
    even, odd = np.arange(0, 4000, 2), np.arange(1, 4000, 2)
    first = observations.commit(batch(datastream, hours_after(LONG_AGO, even), even.astype(float), sigma=np.full(2000, 0.5)))
    drain(rollups)
    pack(database)
    assert has_compressed(database, LONG_AGO) == COMPRESSES[served_by]

    again = observations.commit(batch(datastream, hours_after(LONG_AGO, even), even.astype(float), sigma=np.full(2000, 0.5)))
    assert (again.accepted, again.duplicate, again.corrected) == (0, 2000, 0)
    backfill = observations.commit(batch(datastream, hours_after(LONG_AGO, odd), odd.astype(float)))
    assert (backfill.accepted, backfill.duplicate, backfill.corrected) == (2000, 0, 0)
    pack(database)
    time = hours_after(LONG_AGO, np.arange(100, 140))
    correction = observations.commit(batch(datastream, time, np.concatenate([[-1.0] * 30, np.arange(130.0, 140.0)])))
    # Of the last ten, the odd ones are what is stored; the even ones lose their sigma.
    assert (correction.accepted, correction.duplicate, correction.corrected) == (0, 5, 35)
    straight = observations.commit(batch(newcomer, hours_after(LONG_AGO, even), even.astype(float)))
    assert straight.accepted == 2000

    now_known = np.arange(4000.0)
    now_known[100:130] = -1.0
    assert observations.series(id_of(datastream)).result.tolist() == now_known.tolist()
    assert first.ledger_seq is not None
    assert backfill.ledger_seq is not None
    before = observations.series(id_of(datastream), as_of=first.ledger_seq)
    assert before.result.tolist() == even.astype(float).tolist()
    assert before.sigma.tolist() == [0.5] * 2000
    assert observations.series(id_of(datastream), as_of=backfill.ledger_seq).result.tolist() == list(range(4000))
    moment = (LONG_AGO + np.timedelta64(100, "h")).astype(datetime).replace(tzinfo=UTC)
    kept = observations.revisions(id_of(datastream), moment)
    assert [(row.result, row.sigma, row.batch_id, row.superseded_by) for row in kept] == [
        (100.0, 0.5, first.batch_id, correction.batch_id)
    ]
    drain(rollups)
    for stream in (datastream, newcomer):
        assert_rollups_equal_the_rows(database, stream)
    pack(database)
    assert has_compressed(database, LONG_AGO) == COMPRESSES[served_by]
    assert observations.series(id_of(datastream)).result.tolist() == now_known.tolist()
    for stream in (datastream, newcomer):
        assert_rollups_equal_the_rows(database, stream)


def test_a_correction_may_touch_more_old_rows_than_one_statement_decompresses_by_default(
    database: Database, rollups: RollupRepository, observations: ObservationRepository, datastream: Datastream, served_by: str
) -> None:
    """TimescaleDB stops a transaction that unpacks more than 100 000 rows, unless it is told that this is meant."""
    n = 120_000
    time = np.datetime64("2012-01-01", "us") + np.arange(n) * np.timedelta64(1, "m")
    observations.commit(batch(datastream, time, np.zeros(n)))
    drain(rollups)
    pack(database)
    assert has_compressed(database, time[0]) == COMPRESSES[served_by]
    every = slice(None, None, 400)
    counts = observations.commit(batch(datastream, time[every], np.ones(n // 400)))
    assert counts.corrected == n // 400
    between = observations.commit(batch(datastream, time[every] + np.timedelta64(30, "s"), np.full(n // 400, 2.0)))
    assert between.accepted == n // 400
    assert observations.series(id_of(datastream)).result.sum() == 3 * (n // 400)
    drain(rollups)
    assert_rollups_equal_the_rows(database, datastream)


def test_a_connection_that_has_read_for_long_sees_a_correction_of_old_rows(
    database: Database, observations: ObservationRepository, datastream: Datastream
) -> None:
    """A plan kept from the time when the chunk was wholly compressed would miss what the correction unpacked."""
    time = np.datetime64("2010-01-01", "us") + np.arange(3000) * np.timedelta64(1, "h")
    observations.commit(batch(datastream, time, np.zeros(3000)))
    pack(database)
    start, end = BEGIN_2010 + timedelta(hours=1000), BEGIN_2010 + timedelta(hours=1003)
    with Database(database.url, max_size=1) as long_open:
        reader = ObservationRepository(long_open)
        for _ in range(15):  # more than psycopg and the server need to settle on a prepared plan
            assert reader.series(id_of(datastream), start, end).result.tolist() == [0.0, 0.0, 0.0]
        observations.commit(batch(datastream, time[1001:1002], [1.0]))
        assert reader.series(id_of(datastream), start, end).result.tolist() == [0.0, 1.0, 0.0]


def test_a_correction_unpacks_the_rows_of_its_own_datastreams_alone(
    database: Database, observations: ObservationRepository, make_datastream: MakeDatastream, served_by: str
) -> None:
    corrected, neighbour = make_datastream(), make_datastream()
    time = np.datetime64("2011-01-01", "us") + np.arange(3000) * np.timedelta64(1, "h")
    for stream in (corrected, neighbour):
        observations.commit(batch(stream, time, np.zeros(3000)))
    pack(database)
    # More often than it takes psycopg and the server to settle on a prepared plan.
    for value in range(1, 13):
        counts = observations.commit(batch(corrected, time[1500:1502], [float(value), float(value)]))
        assert counts.corrected == 2
    with database.transaction() as connection:
        connection.execute("SET LOCAL timescaledb.enable_transparent_decompression = off")
        unpacked = connection.execute(
            "SELECT count(*) FILTER (WHERE datastream_id = %s) > 0, count(*) FILTER (WHERE datastream_id = %s) FROM observation",
            [id_of(corrected), id_of(neighbour)],
        ).fetchone()
    assert unpacked == (True, 0 if COMPRESSES[served_by] else 3000)
    assert observations.series(id_of(corrected)).result.sum() == 2 * 12


def test_a_batch_that_is_rolled_back_leaves_old_chunks_as_they_were(
    database: Database, observations: ObservationRepository, datastream: Datastream
) -> None:
    time = np.datetime64("2013-01-01", "us") + np.arange(500) * np.timedelta64(1, "h")
    observations.commit(batch(datastream, time, np.arange(500.0)))
    pack(database)
    with database.transaction() as connection:
        connection.execute("UPDATE observation SET result = 0 WHERE datastream_id = %s", [id_of(datastream)])
        connection.execute("DELETE FROM observation WHERE datastream_id = %s AND result_time IS NULL", [id_of(datastream)])
        connection.rollback()
    assert observations.series(id_of(datastream)).result.tolist() == list(range(500))


def test_another_zone_builds_the_days_again_over_old_chunks(
    database: Database,
    rollups: RollupRepository,
    registers: RegisterRepository,
    observations: ObservationRepository,
    datastream: Datastream,
) -> None:
    observations.commit(batch(datastream, hours_after(LONG_AGO, range(48)), np.arange(48.0)))
    drain(rollups)
    pack(database)
    node = registers.node()
    assert node is not None
    registers.set_node(replace(node, zone="Asia/Urumqi"))
    drain(rollups)
    assert [row.bucket.hour for row in observations.buckets(id_of(datastream), None, None, "1d")] == [18, 18, 18]
    registers.set_node(node)
    drain(rollups)
    assert_rollups_equal_the_rows(database, datastream)


def test_the_apache_edition_is_refused_over_compressed_chunks(
    database: Database,
    observations: ObservationRepository,
    datastream: Datastream,
    served_by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would read them as empty. One server cannot change its edition while it runs, so that only its answer is replaced."""
    observations.commit(batch(datastream, hours_after(LONG_AGO, range(10)), np.zeros(10)))
    pack(database)
    with monkeypatch.context() as patched:
        patched.setattr(migrate_module.SQL, "edition", b"SELECT 'apache'")
        if COMPRESSES[served_by]:
            with pytest.raises(ConfigurationError, match="cannot read"):
                migrate(database.url)
        else:
            assert migrate(database.url) == []
    assert migrate(database.url) == []
    assert observations.series(id_of(datastream)).result.tolist() == [0.0] * 10
