"""Levelogger files and time series of Delft-FEWS: the samples, and real files of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domain.errors import FormatError
from ingest.choosing import detect_format
from ingest.formats import FORMATS, ImportContext
from ingest.profile import load_profile, parse_profile

DATA = Path(__file__).resolve().parents[1] / "data"


def test_channels_are_placed_by_the_profile_to_the_millisecond() -> None:
    raw = (DATA / "xle/well.xle").read_bytes()
    payload = FORMATS["xle"].parse(raw, load_profile(DATA / "xle/well.yaml"), ImportContext("well.xle"))
    assert [(one.station, one.property_code, one.unit, one.sensor) for one in payload.streams] == [
        ("JX-W01", "water_pressure", "m[H2O]", "4711001"),
        ("JX-W01", "water_temperature", "Cel", "4711001"),
    ]
    level = payload.columns.take(payload.columns.stream == 0)
    assert [str(at) for at in level.time] == [
        "2026-03-01T00:00:00.000000",
        "2026-03-01T00:00:00.125000",
        "2026-03-01T16:00:00.000000",
    ]
    assert level.quality.tolist() == [1, 1, 9]
    assert [(one.line, one.code) for one in payload.rejected] == [(10, "time"), (10, "time"), (11, "value")]


def test_without_a_profile_the_level_goes_nowhere_and_is_named() -> None:
    raw = (DATA / "xle/well.xle").read_bytes()
    payload = FORMATS["xle"].parse(raw, None, ImportContext("well.xle", zone="+08:00"))
    assert [one.property_code for one in payload.streams] == ["water_temperature"]
    assert payload.notes["channels_not_stored"] == ["LEVEL"]
    with pytest.raises(FormatError, match="zone"):
        FORMATS["xle"].parse(raw, None, ImportContext("well.xle"))
    older = raw.replace("°".encode(), b"\xb0")
    assert FORMATS["xle"].parse(older, None, ImportContext("well.xle", zone="+08:00")).streams[0].unit == "Cel"


def test_accumulations_end_at_their_time_and_flags_are_kept() -> None:
    raw = (DATA / "fews/rain.xml").read_bytes()
    payload = FORMATS["fews"].parse(raw, load_profile(DATA / "fews/rain.yaml"), ImportContext("rain.xml"))
    rain = payload.columns.take(payload.columns.stream == 0)
    assert (str(rain.time[0]), str(rain.end[0])) == ("2026-02-28T23:00:00.000000", "2026-03-01T00:00:00.000000")
    assert rain.quality.tolist() == [1, 3, 4, 9]
    assert [one.code for one in payload.rejected] == ["time", "value"]
    assert (payload.streams[1].property_code, payload.streams[1].unit) == ("air_temperature", "Cel")
    assert payload.notes["parameters_not_stored"] == ["X.unknown"]
    with pytest.raises(FormatError, match="no parameter"):
        FORMATS["fews"].parse(raw.replace(b"air_temperature", b"Y.unknown"), None, ImportContext("rain.xml"))


def test_the_real_files_are_recognised_and_come_in_whole(shared_data: Path) -> None:
    (slug,) = (shared_data / "loggers/2024-solinst-test").glob("*.xle")
    raw = slug.read_bytes()
    assert detect_format(raw, slug.name)[0].name == "xle"
    payload = FORMATS["xle"].parse(raw, load_profile(DATA / "xle/well.yaml"), ImportContext(slug.name, zone="+01:00"))
    assert (len(payload.columns), payload.rejected) == (2 * 587, ())
    assert (payload.columns.result[0], str(payload.columns.time[1])) == (10.2388, "2023-12-22T09:16:37.125000")
    assert np.diff(payload.columns.time[:587]).min() > np.timedelta64(0, "us")
    (rain,) = (shared_data / "loggers/2019-FEWS-test").glob("*.xml")
    raw = rain.read_bytes()
    assert detect_format(raw, rain.name)[0].name == "fews"
    known = {"P.radar.h": {"property": "rainfall"}, "Eact.d": {"property": "evaporation"}}
    profile = parse_profile({"format": "fews", "parameters": known}, "radar")
    payload = FORMATS["fews"].parse(raw, profile, ImportContext(rain.name))
    assert len(payload.columns) == raw.count(b"<event ")
    assert (payload.streams[0].station, payload.streams[0].unit) == ("FEWS_RADAR_241", "mm")
    assert str(payload.columns.end[0]) == "2013-06-11T14:00:00.000000"
