"""Cells to numbers and times: the quick ways give what the careful ones give; zones and changes of summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import FormatError
from ingest.formats.decoding import number_columns
from ingest.formats.timestamps import elapsed, parse_times, parse_zone


def cells(*texts: str) -> np.ndarray:
    return np.array(texts, dtype=object)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_read_to_the_last_digit_either_way(numbers: list[float]) -> None:
    texts = [repr(number) for number in numbers]
    quick, _, _ = number_columns(cells(*texts))
    careful, _, _ = number_columns(cells(*texts, ""))
    assert quick.tolist() == numbers
    assert careful[:-1].tolist() == numbers


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "1e999", "0x1", "1,5", "--1", "１２３a", "1\n2", "True"])
def test_what_is_no_number_is_bad_and_not_missing(text: str) -> None:
    values, is_missing, is_bad = number_columns(cells(text, "1"))
    assert np.isnan(values[0])
    assert (is_missing[0], is_bad[0]) == (False, True)


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "value"),
    [
        (",", "", "1,5", 1.5),
        (",", "", "-0,25", -0.25),
        (",", "", "1,5e3", 1500.0),
        (",", "", "12", 12.0),
        (",", "", "1.524", None),
        (",", "", "1.524,1", None),
        (",", ".", "1.524,1", 1524.1),
        (",", ".", "1.234.567", 1234567.0),
        (",", ".", "1234567,5", 1234567.5),
        (",", ".", "1.5", None),
        (",", ".", "12.34", None),
        (",", ".", "1234.567", None),
        (",", ".", "1..234", None),
        (",", ".", ".234", None),
        (".", ",", "1,524.1", 1524.1),
        (".", ",", "5,23", None),
        (".", " ", "1 524.1", 1524.1),
        (".", "'", "-1'524.1", -1524.1),
    ],
)
def test_a_mark_that_stands_where_it_cannot_makes_no_number(decimal: str, thousands: str, text: str, value: float | None) -> None:
    values, is_missing, is_bad = number_columns(cells(text, ""), decimal=decimal, thousands=thousands)
    assert (values[0] == value) if value is not None else (np.isnan(values[0]) and is_bad[0])
    assert not is_missing.any()


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e9, 1e9), st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (",", "")]))
def test_a_grouped_number_is_read_as_it_was_written(number: float, marks: tuple[str, str]) -> None:
    decimal, thousands = marks
    text = f"{number:,.3f}".translate({ord("."): decimal, ord(","): thousands})
    values, _, is_bad = number_columns(cells(text, ""), decimal=decimal, thousands=thousands)
    assert values[0] == float(f"{number:.3f}")
    assert not is_bad.any()


def test_missing_markers_are_texts_and_not_values() -> None:
    values, is_missing, is_bad = number_columns(cells("-9999", "-9999.0", "NaN", ""), missing=["-9999", "NAN"])
    assert is_missing.tolist() == [True, False, True, False]
    assert values[1] == -9999.0
    assert not is_bad.any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=10))  # noqa: DTZ001
def test_iso_times_are_read_alike_either_way(moments: list[datetime]) -> None:
    texts = [moment.isoformat(timespec="microseconds") for moment in moments]
    zone = parse_zone("+08:00")
    quick, _ = parse_times(cells(*texts), ("iso",), zone)
    careful, _ = parse_times(cells(*texts, ""), ("iso",), zone)
    expected = [moment - timedelta(hours=8) for moment in moments]
    assert quick.tolist() == expected == careful[:-1].tolist()


def test_offsets_in_the_text_hold_against_the_declared_zone() -> None:
    texts = cells(
        "2025-01-01T08:00:00+08:00", "2025-01-01T00:00:00Z", "2025-01-01 08:00", "2025-01-01T24:00:00", "20250101T080000+0800"
    )
    times, _ = parse_times(texts, ("iso",), parse_zone("Asia/Shanghai"))
    assert [str(time)[:16] for time in times] == ["2025-01-01T00:00"] * 3 + ["2025-01-01T16:00", "2025-01-01T00:00"]


def test_a_local_time_that_occurs_twice_or_never_is_refused() -> None:
    texts = cells("2024-03-31 02:30", "2024-10-27 02:30", "2024-10-27 03:30")
    times, _ = parse_times(texts, ("iso",), parse_zone("Europe/Amsterdam"))
    assert np.isnat(times).tolist() == [True, True, False]


def test_a_day_that_begins_at_one_o_clock_still_begins() -> None:
    times, is_date = parse_times(cells("2018-11-04"), ("iso",), parse_zone("America/Sao_Paulo"))
    assert is_date.tolist() == [True]
    local = datetime.fromisoformat(str(times[0])).replace(tzinfo=UTC).astimezone(ZoneInfo("America/Sao_Paulo"))
    assert (local.day, local.hour) == (4, 1)


def test_naive_times_need_a_zone() -> None:
    with pytest.raises(FormatError, match="zone"):
        parse_times(cells("2025-01-01 00:00"), ("iso",), None)
    times, _ = parse_times(cells("2025-01-01T00:00Z"), ("iso",), None)
    assert str(times[0]) == "2025-01-01T00:00:00.000000"


@pytest.mark.parametrize("text", ["Mars/Phobos", "+25:00", "../etc/passwd", "", "UTC+99"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="zone"):
        parse_zone(text)


def test_elapsed_time_counts_from_its_origin() -> None:
    times = elapsed(np.array([0.0, 0.5, np.nan]), "2024-08-08T00:00:00-06:00", "min", None)
    assert [str(time) for time in times] == ["2024-08-08T06:00:00.000000", "2024-08-08T06:00:30.000000", "NaT"]
