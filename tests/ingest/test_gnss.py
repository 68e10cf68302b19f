"""GNSS day solutions beside tenv3: .neu, .pos and SINEX, value by value, and the geometry behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FormatError
from domain.observation import ParsedPayload
from ingest.formats import FORMATS, ImportContext
from ingest.formats.geodesy import FLATTENING, SEMI_MAJOR_M, geographic, local_axes
from ingest.pipeline import Pipeline
from ingest.profile import parse_profile
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data"
REFERENCE = [-2801512.5, 4720811.25, 3239612.75]


def parse(name: str, file: str, **flags: str) -> ParsedPayload:
    return FORMATS[name].parse((DATA / name / file).read_bytes(), None, ImportContext(file, **flags))


def component(payload: ParsedPayload, number: int) -> ParsedPayload:
    return ParsedPayload(payload.streams, payload.columns.take(payload.columns.stream == number))


def test_neu_reads_unit_frame_and_noon_of_decimal_years() -> None:
    payload = parse("neu", "JXGN.neu")
    assert [(s.station, s.property_code, s.unit, s.frame) for s in payload.streams] == [
        ("JXGN", "displacement_north", "mm", "IGS20"),
        ("JXGN", "displacement_east", "mm", "IGS20"),
        ("JXGN", "displacement_up", "mm", "IGS20"),
    ]
    up = component(payload, 2).columns
    days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-12-31"]
    assert np.datetime_as_string(up.time, unit="D").tolist() == days
    assert (up.end - up.time == np.timedelta64(1, "D")).all()
    assert up.result.tolist() == [0.0, -1.35, -2.1, -31.9]
    assert up.sigma.tolist() == [3.9, 4.1, 4.0, 4.4]
    assert [(r.line, r.code) for r in payload.rejected] == [(6, "columns")]


def test_neu_with_the_day_beside_the_decimal_year_and_no_unit_is_not_guessed(
    pipeline: Pipeline, registry: MemoryRegistry
) -> None:
    raw = b"2023.0014 2023 001 0.0011 0.0022 -0.0033 0.001 0.001 0.004\n2023.0041 2023 002 0.0012 0.0021 -0.0040 0.001 0.001 0.004\n"
    refused = pipeline.ingest_file(raw, "bjfs.neu", actor="test", now=NOW)
    assert (refused.accepted, {reject.code for reject in refused.rejects}) == (0, {"unit"})
    taken = pipeline.ingest_file(raw, "bjfs.neu", unit="m", actor="test", now=NOW)
    assert (taken.format, taken.accepted, taken.stations) == ("neu", 6, ("BJFS",))
    stored = registry.datastream("BJFS:displacement_up")
    assert stored is not None
    assert stored.unit == "mm"


@given(year=st.integers(1995, 2090), day=st.integers(1, 365), digits=st.sampled_from([4, 6, 8]), half=st.sampled_from([0.0, 0.5]))
def test_neu_finds_the_day_of_a_decimal_year_at_noon_or_midnight(year: int, day: int, digits: int, half: float) -> None:
    length = 366 if year % 4 == 0 else 365
    rows = [f"{year + (day - 1 + half) / length:.{digits}f} 1 2 3 1 1 1" for day in (day, 1, 100, 200, 300)]
    payload = FORMATS["neu"].parse("\n".join(rows).encode(), None, ImportContext("JXGN.neu"))
    wanted = np.datetime64(f"{year}-01-01") + np.array([day, 1, 100, 200, 300]) - 1
    assert component(payload, 0).columns.time.astype("datetime64[D]").tolist() == wanted.tolist()


def test_neu_refuses_decimal_years_that_tell_no_day() -> None:
    raw = b"2023.00068 1 2 3 1 1 1\n2023.00342 1 2 3 1 1 1\n"
    with pytest.raises(FormatError, match="neither noon nor midnight"):
        FORMATS["neu"].parse(raw, None, ImportContext("x.neu"))


def test_pos_reads_displacements_in_metres_and_calls_rapid_solutions_provisional() -> None:
    payload = parse("pos", "JXGN.pos")
    frame = "IGS14 about -2801512.50000 4720811.25000 3239612.75000"
    assert [(s.property_code, s.unit, s.frame) for s in payload.streams] == [
        ("displacement_north", "m", frame),
        ("displacement_east", "m", frame),
        ("displacement_up", "m", frame),
    ]
    north, up = component(payload, 0).columns, component(payload, 2).columns
    assert north.result.tolist() == [0.00012, 0.00022, 0.0003]
    assert (up.result.tolist(), up.sigma.tolist()) == ([0.0008, -0.002, -0.0031], [0.004, 0.004, 0.005])
    assert np.datetime_as_string(up.time, unit="h").tolist() == ["2024-01-01T00", "2024-01-02T00", "2024-01-04T00"]
    assert up.quality.tolist() == [1, 1, 2]
    assert up.reasons is not None
    assert up.reasons.tolist() == [None, None, ("provisional",)]
    assert [(r.line, r.code) for r in payload.rejected] == [(18, "columns")]


def test_sinex_is_turned_about_its_reference_with_its_covariance() -> None:
    payload = parse("sinex", "JXGN.snx")
    assert payload.columns.result.tolist() == pytest.approx([5.0, -3.0, -12.5], abs=1e-4)
    assert payload.columns.sigma.tolist() == pytest.approx([1.0, 1.5, 4.0], abs=1e-4)
    assert (str(payload.columns.time[0]), str(payload.columns.end[0])) == (
        "2024-01-01T00:00:00.000000",
        "2024-01-01T23:59:30.000000",
    )
    assert payload.streams[0].frame == "unstated about -2801512.5000 4720811.2500 3239612.7500"
    assert payload.notes["covariance"] is True
    assert [(r.line, r.code) for r in payload.rejected] == [(12, "columns"), (13, "columns")]


def test_sinex_takes_the_reference_of_a_profile_and_refuses_a_far_one() -> None:
    raw = (DATA / "sinex" / "JXGN.snx").read_bytes()
    axes = local_axes(*geographic(np.array(REFERENCE))[:2])
    shifted = (np.array(REFERENCE) - axes.T @ np.array([0.0, 0.0, 0.1])).tolist()
    content = {"format": "sinex", "frame": "IGS20", "attributes": {"reference_xyz_m": {"JXGN": shifted}}}
    payload = FORMATS["sinex"].parse(raw, parse_profile(content, "p"), ImportContext("x"))
    assert payload.columns.result.tolist() == pytest.approx([5.0, -3.0, 87.5], abs=1e-3)
    assert str(payload.streams[0].frame).startswith("IGS20 about ")
    content["attributes"] = {"reference_xyz_m": {"JXGN": [6378137.0, 0.0, 0.0]}}
    far = FORMATS["sinex"].parse(raw, parse_profile(content, "p"), ImportContext("x"))
    assert (len(far.columns), far.rejected[0].code) == (0, "value")


def test_a_sinex_about_other_coordinates_is_not_mixed_in(pipeline: Pipeline, store: MemoryStore) -> None:
    raw = (DATA / "sinex" / "JXGN.snx").read_bytes()
    assert pipeline.ingest_file(raw, "a.snx", actor="test", now=NOW).accepted == 3
    moved = raw.replace(b"3.23961275000000E+06 1.00000E-01", b"3.23961285000000E+06 1.00000E-01")
    assert moved != raw
    report = pipeline.ingest_file(moved, "b.snx", actor="test", now=NOW)
    assert (report.accepted, report.corrected) == (0, 0)
    assert "frame" in {reject.code for reject in report.rejects}


@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-90, 90),
    height=st.floats(-500, 9000),
)
def test_geographic_coordinates_there_and_back(lon: float, lat: float, height: float) -> None:
    e2 = FLATTENING * (2 - FLATTENING)
    sin, cos = np.sin(np.radians(lat)), np.cos(np.radians(lat))
    normal = SEMI_MAJOR_M / np.sqrt(1 - e2 * sin**2)
    x, y = (normal + height) * cos * np.cos(np.radians(lon)), (normal + height) * cos * np.sin(np.radians(lon))
    found = geographic(np.array([x, y, (normal * (1 - e2) + height) * sin]))
    assert found[1] == pytest.approx(lat, abs=1e-8)
    assert found[2] == pytest.approx(height, abs=1e-4)
    axes = local_axes(lon, lat)
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-12)


def test_the_new_layout_of_tenv3_equals_the_source(shared_data: Path) -> None:
    path = shared_data / "gnss" / "ngl_formats" / "ngl_CLV1_IGS14_sample.tenv3"
    payload = FORMATS["tenv3"].parse(path.read_bytes(), None, ImportContext(path.name))
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    east = component(payload, 0).columns
    wanted = [((int(row[7]) - int(rows[0][7])) + float(row[8]) - float(rows[0][8])) * 1000 for row in rows]
    assert east.result.tolist() == pytest.approx(wanted, abs=1e-6)
    assert (payload.streams[0].longitude_deg, payload.streams[0].latitude_deg) == (float(rows[0][21]), float(rows[0][20]))


def test_a_tenv3_row_that_is_short_or_no_number_is_found_whatever_its_column() -> None:
    lines = (DATA / "tenv3" / "TEST.tenv3").read_bytes().splitlines(keepends=True)
    whole = FORMATS["tenv3"].parse(b"".join(lines), None, ImportContext("x"))
    for damaged in (lines[1].replace(b"2024.", b"nan  ", 1), lines[1].rsplit(b" ", 1)[0] + b"\n", b"\n" + lines[1]):
        payload = FORMATS["tenv3"].parse(lines[0] + damaged + b"".join(lines[1:]), None, ImportContext("x"))
        assert len(payload.columns) in {len(whole.columns), len(whole.columns) + 3}
        assert len(payload.columns) + 3 * len(payload.rejected) == len(whole.columns) + 3
