"""Texts that were broken off while they were sent: a value that may have lost digits is suspect, with the reason, until the file is whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import file_on_disk
from ingest.formats.broken_off import TextEnd, broken_line
from ingest.pipeline import Pipeline
from ingest.report import ImportReport
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryStore

PROFILE = """
format: csv
delimiter: ";"
time: {column: time, zone: "+08:00"}
station: {constant: W1, kind: observation_well}
columns: [{match: depth, property: depth_to_water, unit: m}]
"""
ROWS = [f"2026-05-01 00:{minute:02d};{5.125 + minute:.3f}" for minute in range(8)]
WHOLE = "\n".join(("time;depth", *ROWS, "")).encode()


@pytest.fixture(params=["held in memory", "read from the disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "p.yaml").write_text(PROFILE, encoding="utf-8")
    if request.param == "read from the disk":
        monkeypatch.setattr(file_on_disk, "LARGE_BYTES", 50)
    return tmp_path


def imported(pipeline: Pipeline, folder: Path, content: bytes, name: str = "x.csv") -> ImportReport:
    (folder / name).write_bytes(content)
    return pipeline.ingest_path(folder / name, profile=folder / "p.yaml", actor="test", now=NOW)


def stored(store: MemoryStore) -> list[tuple[float, int, tuple[str, ...] | None]]:
    return [(float.fromhex(row[0]), row[3], row[4]) for _, row in sorted(store.rows.items())]  # type: ignore[arg-type, misc]


def test_a_value_that_may_have_lost_digits_is_suspect_until_the_file_comes_whole(
    pipeline: Pipeline, store: MemoryStore, folder: Path
) -> None:
    report = imported(pipeline, folder, WHOLE[:-3])
    assert (report.accepted, report.rejected) == (8, 0)
    assert report.notes["cut_off"].startswith("the file ends within line 9")
    assert [quality for _, quality, _ in stored(store)] == [1] * 7 + [3]
    assert stored(store)[-1] == (12.1, 3, ("cut_off",))
    again = imported(pipeline, folder, WHOLE[:-3])
    assert (again.duplicate, again.corrected) == (8, 0)
    whole = imported(pipeline, folder, WHOLE)
    assert (whole.duplicate, whole.corrected) == (7, 1)
    assert "cut_off" not in whole.notes
    assert stored(store)[-1] == (12.125, 1, None)


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-1],
        WHOLE,
        WHOLE.replace(b"\n", b"\r\n")[:-2],
        WHOLE.replace(b"\n", b"\r"),
        b"time;depth\n2026-05-01 00:00;5.125\n2026-05-01 00:01;5.12",
        b"time;depth\n2026-05-01 00:00;5.125\n2026-05-01 00:01;5.1\n2026-05-01 00:02;5\n2026-05-01 00:03;5.1\n2026-05-01 00:04;6",
    ],
    ids=["whole without an end", "whole", "CR LF without an end", "CR", "too few rows to tell", "rows of many lengths"],
)
def test_a_last_line_that_is_as_long_as_others_is_good_whatever_follows_it(
    pipeline: Pipeline, store: MemoryStore, folder: Path, content: bytes
) -> None:
    report = imported(pipeline, folder, content)
    assert "cut_off" not in report.notes
    assert {quality for _, quality, _ in stored(store)} == {1}


def test_what_is_packed_has_an_end_of_its_own() -> None:
    assert broken_line(gzip.compress(WHOLE[:-3])) is None
    assert broken_line(WHOLE[:-3].decode().encode("utf-16")) is None


@given(
    st.lists(st.text("0123456789;. 井", min_size=1, max_size=30), min_size=1, max_size=60),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.integers(1, 200), min_size=1, max_size=20),
    st.booleans(),
)
def test_a_text_is_judged_alike_however_it_is_fed(rows: list[str], end: str, sizes: list[int], is_ended: bool) -> None:
    text = (end.join(rows) + (end if is_ended else "")).encode()
    fed, position, number = TextEnd(), 0, 0
    while position < len(text):
        size = sizes[number % len(sizes)]
        fed.feed(text[position : position + size])
        position, number = position + size, number + 1
    found = broken_line(text)
    assert fed.broken_line() == found
    compared = [len(row.encode()) for row in rows[1:-1]][-20:]  # the first line is a header
    is_short = len(compared) >= 3 and len(rows[-1].encode()) < min(compared)
    assert found == (len(rows) if is_short and not is_ended else None)


def test_lines_are_counted_beyond_what_is_held_and_a_text_without_lines_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.formats.broken_off._TAIL_BYTES", 64)
    end = TextEnd()
    for row in range(1000):
        end.feed(f"row {row:05d}\n".encode())
    end.feed(b"row 01")
    assert end.broken_line() == 1001
    endless = TextEnd()
    for _ in range(100):
        endless.feed(b"x" * 50)
    assert endless.broken_line() is None
    assert len(endless._tail) < 1000
