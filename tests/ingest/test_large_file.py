"""Files that do not fit into memory: the same outcome as in memory, whatever the order of their lines and whatever ends an import."""

from __future__ import annotations

import errno
import gzip
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import FormatError, InputError, UnavailableError
from domain.observation import Batch, Columns, CommitCounts, columns
from ingest import file_on_disk, large_file, spool
from ingest.formats import table
from ingest.large_file import content_sha256
from ingest.pipeline import Pipeline
from ingest.report import ImportReport
from ingest.spool import Spool
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

PROFILE = """\
format: csv
time: {column: time, zone: UTC}
station: {template: "{well}"}
missing: ["-"]
columns: [{match: [depth], property: depth_to_water, unit: m, sigma: [sigma]}]
"""
HEADER = "time,well,depth,sigma\n"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every file a large one, its blocks and parts small."""
    monkeypatch.setattr(file_on_disk, "LARGE_BYTES", 100)
    monkeypatch.setattr(file_on_disk, "LARGE_GZIP_BYTES", 50)
    monkeypatch.setattr(table, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(spool, "PART_ROWS", 120)


def lines(rows: int, wells: int = 3) -> list[str]:
    chance = random.Random(7)
    start = datetime.fromisoformat("2024-01-01")
    return [
        f"{start + timedelta(minutes=number // wells)},W{number % wells},{chance.uniform(1, 9):.4f},{'' if number % 5 else 0.01}"
        for number in range(rows)
    ]


def written(tmp_path: Path, rows: list[str], name: str = "x.csv") -> Path:
    (tmp_path / "p.yaml").write_text(PROFILE, encoding="utf-8")
    path = tmp_path / name
    raw = (HEADER + "\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def ingest(pipeline: Pipeline, path: Path, **options: Any) -> ImportReport:
    return pipeline.ingest_path(path, profile=path.parent / "p.yaml", actor="test", now=NOW, **options)


def in_memory(tmp_path: Path, rows: list[str]) -> tuple[ImportReport, MemoryStore]:
    store = MemoryStore()
    raw = (HEADER + "\n".join(rows) + "\n").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "BLOCK_BYTES", file_on_disk.LARGE_BYTES * 10_000)
        report = Pipeline(MemoryRegistry(), store).ingest_file(raw, "x.csv", profile=tmp_path / "p.yaml", actor="test", now=NOW)
    return report, store


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_large_file_is_stored_as_a_small_one_would_be(
    small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path, name: str
) -> None:
    rows = lines(1000)
    rows[17] = "2024-13-01 00:00,W1,1,"
    rows[18] = "2024-01-01 00:00,W/1,1,"
    rows[500] = "2024-01-01 00:00,W1,one,"
    rows[700] = rows[699]
    rows[900] = ",".join([*rows[30].split(",")[:2], "7.25", ""])  # contradicts a line of another block
    path = written(tmp_path, rows, name)
    report = ingest(pipeline, path)
    expected, whole = in_memory(tmp_path, rows)
    assert store.rows == whole.rows
    assert (report.accepted, report.duplicate, report.corrected, report.rejected) == (995, 1, 0, 4)
    assert (expected.accepted, expected.duplicate, expected.corrected, expected.rejected) == (995, 1, 0, 4)
    assert sorted((item.line, item.code, item.raw) for item in report.rejects) == sorted(
        (item.line, item.code, item.raw) for item in expected.rejects
    )
    assert [item.line for item in report.rejects if item.code == "duplicate_in_file"] == [32]
    assert len(store.batches) > 5
    assert {batch.sha256 for batch in store.batches} == {report.sha256}


def test_shuffled_lines_make_the_same_parts(small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path) -> None:
    rows = lines(1000)
    ingest(pipeline, written(tmp_path, rows))
    parts = [batch.content_sha256 for batch in store.batches]
    random.Random(3).shuffle(rows)
    changed = [number for number, row in enumerate(rows) if "W1" in row][40]
    rows[changed] = ",".join([*rows[changed].split(",")[:2], "8.125", ""])
    report = ingest(pipeline, written(tmp_path, rows))
    again = [batch.content_sha256 for batch in store.batches[len(parts) :]]
    assert (report.accepted, report.duplicate, report.corrected) == (0, 999, 1)
    assert len(parts) == len(again) > 5
    assert sum(one != other for one, other in zip(parts, again, strict=True)) == 1


class Stopping(MemoryStore):
    """A store that stops after some commits, as a killed import does."""

    def __init__(self, fault: BaseException, after: int) -> None:
        super().__init__()
        self.fault, self.after = fault, after

    def commit(self, batch: Batch) -> CommitCounts:
        if len(self.batches) == self.after:
            raise self.fault
        return super().commit(batch)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), UnavailableError("the database is out of reach.")])
def test_an_interrupted_import_is_finished_by_the_next(small: None, tmp_path: Path, fault: BaseException) -> None:
    registry, store = MemoryRegistry(), Stopping(fault, 3)
    pipeline = Pipeline(registry, store, spool=tmp_path / "spool")
    path = written(tmp_path, lines(1000))
    with pytest.raises(type(fault)):
        ingest(pipeline, path)
    assert 0 < len(store.rows) < 1000
    assert list((tmp_path / "spool").iterdir()) == []
    store.after = -1
    report = ingest(pipeline, path)
    assert report.accepted + report.duplicate == len(store.rows) == 1000
    assert report.corrected == 0
    assert report.duplicate >= 3 * 100


def test_nothing_is_stored_of_a_file_that_changes_or_ends_early(
    small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, lines(1000))
    looked = file_on_disk.look_at

    def look_then_grow(where: Path, filename: str) -> file_on_disk.LargeFile:
        found = looked(where, filename)
        with where.open("a") as stream:
            stream.write("2024-03-01 00:00:00,W1,1,\n")
        return found

    monkeypatch.setattr("ingest.pipeline.look_at", look_then_grow)
    with pytest.raises(InputError, match="changed while it was read"):
        ingest(pipeline, path)
    monkeypatch.setattr("ingest.pipeline.look_at", looked)
    half = written(tmp_path, lines(1000), "half.csv.gz")
    half.write_bytes(half.read_bytes()[:-200])
    with pytest.raises(FormatError, match="damaged"):
        ingest(pipeline, half)
    assert store.batches == []


def test_a_rehearsal_stores_nothing(small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path) -> None:
    report = ingest(pipeline, written(tmp_path, lines(500)), dry_run=True)
    assert (report.accepted, store.batches) == (500, [])


def test_progress_is_told_for_both_passes(small: None, pipeline: Pipeline, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = written(tmp_path, lines(1000))
    ingest(pipeline, path, watch=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "reading"][-1][1:] == (path.stat().st_size, path.stat().st_size)
    assert [step for step in told if step[0] == "storing"][-1][1:] == (1000, 1000)


def test_chinese_text_is_read_in_its_own_encoding(small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path) -> None:
    rows = [row.replace("W", "井") for row in lines(300)]
    path = written(tmp_path, rows)
    path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    assert ingest(pipeline, path).accepted == 300
    assert ingest(pipeline, path).stations == ("井0", "井1", "井2")


def rows_of(streams: list[int], minutes: list[int]) -> Columns:
    times = np.datetime64("2024-01-01", "us") + np.array(minutes, dtype="timedelta64[m]").astype("timedelta64[us]")
    return columns(np.array(streams, dtype=np.int32), times, np.arange(len(streams), dtype=np.float64))


@settings(deadline=None, max_examples=60)
@given(
    keys=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), min_size=1, max_size=200),
    part_rows=st.integers(1, 60),
    runs=st.integers(1, 5),
)
def test_a_spool_gives_back_every_row_once_in_order_and_keys_whole(
    keys: list[tuple[int, int]], part_rows: int, runs: int
) -> None:
    rows = rows_of([stream for stream, _ in keys], [minute for _, minute in keys])
    with Spool(None, part_rows) as spooled:
        for piece in np.array_split(np.arange(len(keys)), runs):
            spooled.add(rows.take(piece))
        parts = list(spooled.parts())
    assert all(len(part) for part in parts)
    assert sorted(value for part in parts for value in part.result.tolist()) == rows.result.tolist()
    found = [
        (int(stream), int(time)) for part in parts for stream, time in zip(part.stream, part.time.view(np.int64), strict=True)
    ]
    assert found == sorted(found)
    of_part = [{(int(s), int(t)) for s, t in zip(part.stream, part.time.view(np.int64), strict=True)} for part in parts]
    assert sum(map(len, of_part)) == len(set().union(*of_part))
    for part in parts:
        same = (part.stream[1:] == part.stream[:-1]) & (part.time[1:] == part.time[:-1])
        assert (part.line[1:][same] > part.line[:-1][same]).all() or runs > 1


def test_the_digest_of_rows_sees_every_value_and_no_line() -> None:
    rows = rows_of([1, 1, 2], [0, 1, 0])
    reasons = np.empty(3, dtype=object)
    reasons[1] = ("frozen",)
    others = [
        columns(rows.stream, rows.time, rows.result + 1e-12),
        columns(rows.stream + 1, rows.time, rows.result),
        columns(rows.stream, rows.time + np.timedelta64(1, "us"), rows.result),
        columns(rows.stream, rows.time, rows.result, sigma=[0.1, np.nan, np.nan]),
        columns(rows.stream, rows.time, rows.result, quality=[1, 3, 1]),
        columns(rows.stream, rows.time, rows.result, end=rows.time + np.timedelta64(1, "s")),
        columns(rows.stream, rows.time, rows.result, reasons=reasons),
    ]
    assert content_sha256(rows) == content_sha256(columns(rows.stream, rows.time, rows.result, line=[7, 8, 9]))
    assert len({content_sha256(other) for other in [rows, *others]}) == len(others) + 1


@pytest.fixture
def blocks_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the files of which rows were parsed."""
    parsed: list[str] = []
    run = large_file._Importer.run

    def noted(self: Any, *arguments: Any) -> None:
        parsed.append(self.file.filename)
        run(self, *arguments)

    monkeypatch.setattr(large_file._Importer, "run", noted)
    return parsed


def known_wells(pipeline: Pipeline, tmp_path: Path) -> list[str]:
    """Import a small file that makes the wells, and say that a person has confirmed them; return the rows of a larger one."""
    ingest(pipeline, written(tmp_path, lines(3), "first.csv"))
    registry = pipeline.registry
    assert isinstance(registry, MemoryRegistry)
    registry.confirm_all()
    return lines(1000)


def test_the_very_same_file_is_recognised_without_reading_its_rows(
    small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path, blocks_read: list[str]
) -> None:
    path = written(tmp_path, known_wells(pipeline, tmp_path))
    first = ingest(pipeline, path)
    blocks_read.clear()
    again = ingest(pipeline, path)
    assert blocks_read == []
    assert (again.accepted, again.duplicate, again.corrected, again.rejected) == (0, 1000, 0, 0)
    assert (again.stations, again.sha256, again.notes) == (first.stations, first.sha256, first.notes)
    assert store.batches[-1].parameters["recognised_rows"] == 1000


def test_what_may_have_changed_is_read_again(
    small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path, blocks_read: list[str]
) -> None:
    rows = known_wells(pipeline, tmp_path)
    path = written(tmp_path, rows)
    ingest(pipeline, path)
    store.mark += 1  # somebody changed a register
    ingest(pipeline, path)
    ingest(pipeline, path)
    assert len(blocks_read) == 1 + 2  # the small file of the wells, the first time, and after the change
    key = next(iter(store.rows))
    store.rows[key] = ("corrected",)
    ingest(pipeline, path)
    assert len(blocks_read) == 4
    (tmp_path / "p.yaml").write_text(PROFILE.replace("zone: UTC", "zone: Asia/Shanghai"), encoding="utf-8")
    ingest(pipeline, path)
    assert len(blocks_read) == 5


def test_a_file_with_a_refused_row_tells_of_it_every_time(
    small: None, pipeline: Pipeline, store: MemoryStore, tmp_path: Path, blocks_read: list[str]
) -> None:
    rows = known_wells(pipeline, tmp_path)
    rows[17] = "2024-13-01 00:00,W1,1,"
    path = written(tmp_path, rows)
    reports = [ingest(pipeline, path) for _ in range(2)]
    assert [report.rejected for report in reports] == [1, 1]
    assert blocks_read.count(path.name) == 2


def test_a_full_disk_is_told_as_such_by_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *mode: opened(Path("/dev/full"), *mode))
    with Spool(tmp_path) as spooled, pytest.raises(OSError, match="No space left") as full:
        spooled.add(columns(np.ones(100_000, np.int32), np.arange(100_000).astype("M8[us]"), np.ones(100_000)))
    assert full.value.errno == errno.ENOSPC
