"""Columns of Arrow and careful cells give the same numbers, times, rejects and stations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import FormatError
from domain.observation import ParsedPayload
from ingest.formats import table as module
from ingest.formats.columnar import ColumnarTable, read_block
from ingest.formats.decoding import text_blocks
from ingest.formats.delimited import parse
from ingest.formats.format import ImportContext
from ingest.formats.table import Table, read_tables
from ingest.profile import parse_profile

PROFILE = parse_profile(
    {
        "format": "csv",
        "time": {"column": "time", "zone": "Asia/Shanghai"},
        "station": {"template": "{well}-{pipe}"},
        "missing": ["-9999", "NULL"],
        "columns": [
            {"match": ["depth"], "property": "depth_to_water", "unit": "m", "sigma": ["sigma"], "quality": ["flag"]},
            {"match": ["level"], "property": "water_level", "unit": "m", "scale": -1},
        ],
        "quality": {"G": 1, "B": [3, "frozen"]},
    },
    "both",
)
HEADER = "time,well,pipe,depth,sigma,flag,level\n"
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=30).map(str),
    st.sampled_from(
        ["", "-9999", "null", "NULL", " 1.5", "+2", "nan", "inf", "1e999", "0x1", "1_0", "1.", ".5", "-", "5\u00a0", "１"]
    ),
)
TIMES = st.one_of(
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "+08:00"),
    st.sampled_from(
        ["2024-01-01", "2024-01-01 24:00", "2024/1/1 0:00", "", "2024-02-30 00:00", "2024-01-01T00:00Z", "1600-01-01 00:00"]
    ),
)
ROWS = st.lists(
    st.tuples(
        TIMES,
        st.sampled_from(["A", "B", "b/c", ""]),
        st.sampled_from(["1", "2"]),
        NUMBERS,
        NUMBERS,
        st.sampled_from(["G", "B", "x", ""]),
        NUMBERS,
    ),
    min_size=1,
    max_size=8,
)


def careful(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> ParsedPayload:
    with monkeypatch.context() as patched:
        patched.setattr("ingest.formats.columnar.read_block", lambda *_: None)
        return parse(raw, PROFILE, ImportContext("x.csv"))


def assert_same(left: ParsedPayload, right: ParsedPayload) -> None:
    assert left.streams == right.streams
    assert [(item.line, item.code, item.reason) for item in left.rejected] == [
        (item.line, item.code, item.reason) for item in right.rejected
    ]
    for name in ("stream", "time", "result", "sigma", "quality", "line", "end"):
        np.testing.assert_array_equal(getattr(left.columns, name), getattr(right.columns, name), err_msg=name)
    assert list(left.columns.reasons if left.columns.reasons is not None else []) == list(
        right.columns.reasons if right.columns.reasons is not None else []
    )


@settings(deadline=None, max_examples=40)
@given(rows=ROWS)
def test_both_ways_of_reading_agree_on_whatever_stands_in_the_cells(rows: list[tuple[str, ...]]) -> None:
    raw = (HEADER + "".join(",".join(row) + "\n" for row in rows)).encode()
    with pytest.MonkeyPatch.context() as patch:
        assert_same(parse(raw, PROFILE, ImportContext("x.csv")), careful(raw, patch))


@settings(deadline=None)
@given(cells=st.lists(st.from_regex(r"-?\d{1,25}(\.\d{0,25})?([eE]-?\d{1,2})?", fullmatch=True), min_size=1, max_size=20))
def test_every_decimal_becomes_the_nearest_double(cells: list[str]) -> None:
    block = "\n".join(f"{cell},x" for cell in cells).encode()
    read = read_block(block, 1, (), (), ",", None)
    assert isinstance(read, ColumnarTable)
    values, is_missing, is_bad = read.numbers(0)
    assert not is_missing.any()
    assert not is_bad.any()
    assert values.tolist() == [float(cell) for cell in cells]


def test_an_odd_row_slows_down_its_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALLEST_BLOCK", 200)
    lines = [f"2024-01-01T{number // 60:02d}:{number % 60:02d},A,1,{number}.5,,G," for number in range(400)]
    lines[123] += ",surplus"
    raw = (HEADER + "\n".join(lines)).encode()
    kinds = [type(table) for table in read_tables(raw, PROFILE, where="x")]
    assert kinds.count(Table) == 1
    assert kinds.count(ColumnarTable) > 3
    payload = parse(raw, PROFILE, ImportContext("x.csv"))
    assert_same(payload, careful(raw, monkeypatch))
    assert payload.columns.line.tolist() == list(range(2, 402))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_lines_keep_their_numbers_over_blocks(end: str, encoding: str) -> None:
    text = end.join(f"第{number}行" for number in range(100)) + end
    blocks = list(text_blocks(io.BytesIO(text.encode(encoding)), encoding, 64))
    assert "".join(block.decode() for _, block in blocks).split("\n")[:-1] == [f"第{number}行" for number in range(100)]
    for first, block in blocks:
        assert block.decode().startswith(f"第{first - 1}行")
    assert len(blocks) > 3 or encoding == "utf-16" or end == "\r"


def test_quoted_cells_and_markers_and_blank_lines() -> None:
    raw = (HEADER + '"2024-01-01 00:00","A, west",1,"1.5",,G,2\n\n2024-01-01 01:00,B,1,-9999,,B,\n').encode()
    payload = parse(raw, PROFILE, ImportContext("x.csv"))
    assert [item.code for item in payload.rejected] == ["station"]
    assert payload.columns.line.tolist() == [4]
    assert np.isnan(payload.columns.result).all()


def test_an_empty_file_is_not_the_format() -> None:
    with pytest.raises(FormatError, match="no header row"):
        parse(b"", PROFILE, ImportContext("x.csv"))
