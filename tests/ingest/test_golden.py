"""Every sample of every format says what its golden file says, and no damage to a row makes a row vanish."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import InputError
from ingest.formats import FORMATS, MESSAGE_FORMATS, ImportContext, MessageContext
from tests.ingest.golden import DATA, GOLDEN, golden_of, profile_of, said_by, samples

ROWS = {
    "levelling": "jiaxing_2023.csv",
    "toa5": "wellfield.dat",
    "tenv3": "TEST.tenv3",
    "csv": "flow.csv",
    "rdb": "well.rdb",
    "neu": "JXGN.neu",
    "pos": "JXGN.pos",
}
"""Formats of one row a line, with the sample whose rows are damaged."""
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ATTRIBUTES = {
    "toa5": {"profile": {"format": "toa5", "time": {"zone": "+08:00"}, "columns": [{"match": "Depth_Avg", "property": "head"}]}}
}
BY_NAME = {path.name: path for path in samples()}


@pytest.mark.parametrize("path", samples(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_sample_says_what_its_golden_file_says(path: Path) -> None:
    assert said_by(path) == golden_of(path).read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_its_sample() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {golden_of(path).name for path in samples()}


@pytest.mark.parametrize("name", ROWS)
@FUZZ
@given(data=st.data())
def test_a_damaged_row_is_refused_or_read_and_never_lost(name: str, data: st.DataObject) -> None:
    path = BY_NAME[ROWS[name]]
    context = ImportContext(path.name, station="S1", zone="Asia/Shanghai")
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = FORMATS[name].parse("\n".join(lines).encode(), profile_of(path), context)
    told = {*whole.columns.line.tolist(), *(item.line for item in whole.rejected)}
    number = data.draw(st.sampled_from(sorted(told)))
    text = lines[number - 1]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    noise = data.draw(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters='"#'), max_size=8)
    )
    lines[number - 1] = text[:begin] + noise + text[end:]
    cells = [cell for cell in re.split(r"[,;\t ]+", lines[number - 1]) if cell.strip('"')]
    if len(cells) < 2 or not any(letter.isdigit() for letter in lines[number - 1]):
        return  # a single cell, or words alone, are a remark
    try:
        damaged = FORMATS[name].parse("\n".join(lines).encode(), profile_of(path), context)
    except InputError:
        return  # the file as a whole is refused, which tells of the row too
    assert told <= {*damaged.columns.line.tolist(), *(item.line for item in damaged.rejected)}


@pytest.mark.parametrize("name", MESSAGE_FORMATS)
@FUZZ
@given(data=st.data())
def test_no_message_makes_its_reader_fall_and_none_is_lost(name: str, data: st.DataObject) -> None:
    sample = bytearray(next(path for path in sorted((DATA / name).iterdir()) if path.suffix != ".yaml").read_bytes())
    if data.draw(st.booleans()):
        begin = data.draw(st.integers(0, len(sample)))
        sample[begin : begin + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    else:
        sample = bytearray(data.draw(st.binary(max_size=300)))
    entry = MESSAGE_FORMATS[name]
    for reader in (entry.identity, entry.password):
        if reader is not None:
            reader(bytes(sample))
    try:
        found = entry.elements(bytes(sample), MessageContext("topic", NOW, "S1", ATTRIBUTES.get(name, {})))
    except InputError:
        return
    assert all(item.code and item.reason for item in found.rejected)
    assert all(element.time_us is not None for element in found.values)
