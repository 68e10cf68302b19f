"""Input of `velocity` and `detect`: columns by name or place, times or plain ordinates, gzip; bad input is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import GroundWatchError, InputError
from service.offline.answers import detection_of, velocity_of
from service.offline.events import ngl_date, read_steps
from service.offline.reading import read_series

ROOT = Path(__file__).resolve().parents[3]


def write(folder: Path, text: str, name: str = "series.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "row", "value"),
    [
        ("time,value", "2024-01-01T00:00:00Z,5", 5.0),
        ("value,timestamp", "5,2024-01-01 00:00:00", 5.0),
        ("date,a,b", "2024-01-01,1,5", 5.0),
        ("index,t,x", "7,2024-01-01,5", 5.0),
        ("datetime,value,other", "2024-01-01,5,9", 5.0),
    ],
)
def test_columns_are_found_by_name_then_by_place(tmp_path: Path, header: str, row: str, value: float) -> None:
    (series,) = read_series(write(tmp_path, f"{header}\n{row}\n"))
    assert series.value.tolist() == [value]
    assert series.label(0) == "2024-01-01T00:00:00Z"


def test_an_offset_is_taken_into_account_and_a_naive_time_is_utc(tmp_path: Path) -> None:
    (series,) = read_series(write(tmp_path, "time,value\n2024-01-01T08:00:00+08:00,1\n2024-01-01T01:00:00+00:00,2\n"))
    assert [series.label(0), series.label(1)] == ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"]


def test_a_numeric_time_is_a_plain_ordinate_and_is_echoed_as_a_number(tmp_path: Path) -> None:
    (series,) = read_series(write(tmp_path, "index,year,km\n0,1990,1.0\n1,1991,2.0\n2,1992,3.5\n"))
    assert series.ordinate is not None
    assert [series.label(row) for row in range(3)] == [1990.0, 1991.0, 1992.0]
    answer, _ = velocity_of(series, [])
    assert (answer["start"], answer["end"]) == (1990.0, 1992.0)


def test_gzip_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    text = "time,value\n2024-01-01,1\n2024-01-02,2\n"
    packed = tmp_path / "series.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    (plain,), (zipped,) = read_series(write(tmp_path, text)), read_series(packed)
    assert zipped.value.tolist() == plain.value.tolist()
    assert zipped.time.tolist() == plain.time.tolist()


def test_a_tenv3_file_has_three_components_in_millimetres() -> None:
    sample = next((ROOT / "tests/data/tenv3").glob("*.tenv3"))
    found = read_series(sample)
    assert [(series.component, series.unit) for series in found] == [("east", "mm"), ("north", "mm"), ("up", "mm")]


@pytest.mark.parametrize(
    "text", ["", "only one line", "a,b\nx,y\n", "time,value\nyesterday,1\n", "value\n1\n", "time,value\n,1\n"]
)
def test_bad_input_is_refused_with_the_file_and_the_remedy(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_series(write(tmp_path, text))
    assert "series.csv" in str(caught.value.where)
    assert caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "any.csv"
    path.write_bytes(body)
    try:
        for series in read_series(path):
            json.dumps(detection_of(series), allow_nan=False)
    except GroundWatchError as error:
        assert error.what


def test_the_name_of_a_file_changes_nothing_but_the_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    text = "time,value\n" + "".join(
        f"{np.datetime64('2020-01-01') + day},{value:.3f}\n" for day, value in enumerate(rng.normal(0, 1, 400))
    )
    (one,), (other,) = read_series(write(tmp_path, text, "a.csv")), read_series(write(tmp_path, text, "art_noisy.csv"))
    left, right = detection_of(one), detection_of(other)
    assert {**left, "file": ""} == {**right, "file": ""}


def test_the_answer_has_the_shapes_of_the_contract(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    days = np.arange(1200)
    text = "time,value\n" + "".join(
        f"{np.datetime64('2019-01-01') + day},{-0.01 * day + noise:.4f}\n"
        for day, noise in zip(days, rng.normal(0, 2, 1200), strict=True)
    )
    (series,) = read_series(write(tmp_path, text))
    answer, _ = velocity_of(series, [])
    wanted = {"file", "station", "component", "unit", "n", "start", "end", "span_a", "interim", "rate", "rate_sigma", "noise_model",
              "midas_rate",
              "midas_sigma", "midas_n_used", "midas_n_pairs", "annual_amplitude", "semiannual_amplitude", "steps"}  # fmt: skip
    assert wanted <= set(answer)
    assert abs(answer["rate"] + 3.6525) < 4 * answer["rate_sigma"]
    assert answer["interim"] is False
    json.dumps(answer, allow_nan=False)


def test_an_anomaly_is_told_with_its_grade(tmp_path: Path) -> None:
    """A crowd by night is little by day, so it is suspect; what no day has seen is an alarm."""
    hours = np.arange(48 * 70) / 2.0
    values = np.random.default_rng(0).poisson(40.0 + 600.0 * np.exp(-(((hours % 24.0 - 14.0) / 4.0) ** 2))).astype(float)
    values[48 * 50 + 4 : 48 * 50 + 12] += 30.0
    values[48 * 60] = 5000.0
    times = np.datetime64("2026-01-01", "us") + (hours * 3600e6).astype("timedelta64[us]")
    (series,) = read_series(write(tmp_path, "time,value\n" + "".join(f"{t},{v}\n" for t, v in zip(times, values, strict=True))))
    graded = {anomaly["start_index"]: anomaly["grade"] for anomaly in detection_of(series)["anomalies"]}
    assert graded[48 * 60] == "alarm"
    assert [grade for at, grade in graded.items() if 48 * 50 + 4 <= at < 48 * 50 + 12] == ["suspect"]


@pytest.mark.parametrize(
    ("word", "iso"), [("15JUL27", "2015-07-27"), ("99SEP04", "1999-09-04"), ("80JAN01", "1980-01-01"), ("06JUN01", "2006-06-01")]
)
def test_ngl_dates_are_read(word: str, iso: str) -> None:
    day = ngl_date(word)
    assert day is not None
    assert day.date().isoformat() == iso


def test_steps_files_of_both_ngl_layouts_and_plain_dates_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# steps\nDUTC  2015.5674  15JUL27  2\nOTHR  16NOV15  1  Antenna\nDUTC  16NOV15  1  Antenna\n2017-01-02\n",
        "steps.txt",
    )
    assert [event.start.date().isoformat() for event in read_steps(path, "DUTC")] == ["2015-07-27", "2016-11-15", "2017-01-02"]


def test_a_line_without_a_date_is_refused_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1"):
        read_steps(write(tmp_path, "someday\n", "steps.txt"), "DUTC")
