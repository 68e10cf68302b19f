"""WaterML and SensorThings: what peers write is read value by value."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FormatError
from domain.observation import ParsedPayload
from ingest.formats import FORMATS, ImportContext
from ingest.formats.xml_tree import read_xml
from ingest.pipeline import Pipeline
from ingest.profile import load_profile, parse_profile
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data"


def waterml(raw: bytes, **flags: str) -> ParsedPayload:
    return FORMATS["waterml"].parse(raw, load_profile("usgs_waterml"), ImportContext("x.xml", **flags))


def test_time_value_pairs_with_units_quality_and_missing_values() -> None:
    payload = waterml((DATA / "waterml" / "well.xml").read_bytes())
    stream = payload.streams[0]
    assert (stream.station, stream.property_code, stream.unit, stream.longitude_deg, stream.name_en) == (
        "JX-W01",
        "depth_to_water",
        "cm",
        120.688,
        "Wangjiangjing 1",
    )
    rows = payload.columns
    assert rows.result.tolist() == pytest.approx([523.5, 524.0, np.nan], nan_ok=True)
    assert rows.quality.tolist() == [1, 3, 9]
    assert str(rows.time[0]) == "2026-01-02T00:00:00.000000"
    assert [(r.line, r.code) for r in payload.rejected] == [(24, "value")]


@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("WaterML2Example.xml", 8, ("01646500:discharge", "2014-09-01T05:00:00", 2690.0)),
        ("WaterML1Example.xml", 192, ("01491000:discharge", "2012-05-12T05:00:00", 83.0)),
        ("nwis_iv_waterml.json", 20, ("01491000:discharge", "2019-02-14T05:00:00", 974.0)),
        ("nwis_dv_waterml.json", 4, ("01491000:discharge", "2020-02-14T05:00:00", 466.0)),
    ],
)
def test_the_files_of_the_usgs_come_in_whole(
    name: str,
    rows: int,
    first: tuple[str, str, float],
    shared_data: Path,
    pipeline: Pipeline,
    registry: MemoryRegistry,
    store: MemoryStore,
) -> None:
    raw = (shared_data / "groundwater" / "usgs" / name).read_bytes()
    report = pipeline.ingest_file(raw, name, actor="test", now=NOW)
    assert (report.format, report.accepted, report.rejected) == ("waterml", rows, 0)
    values = store.values(registry.datastream(first[0]))
    assert values[first[1]] == pytest.approx(first[2] * 0.3048**3, rel=1e-12)


def test_daily_means_cover_their_day_and_say_that_they_are_provisional(shared_data: Path) -> None:
    payload = waterml((shared_data / "groundwater" / "usgs" / "WaterML2Example.xml").read_bytes())
    assert (payload.columns.end - payload.columns.time == np.timedelta64(1, "D")).all()
    assert payload.columns.reasons is not None
    assert set(payload.columns.reasons.tolist()) == {("provisional",)}
    west = waterml((shared_data / "groundwater" / "usgs" / "WaterML2Example.xml").read_bytes(), zone="-08:00")
    assert str(west.columns.time[0]) == "2014-09-01T08:00:00.000000"


@pytest.mark.parametrize(
    "document",
    [
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY x "yy"><!ENTITY z "&x;&x;">]><a>&z;</a>',
        b"<a><b></a>",
        b"<a>" * 200 + b"</a>" * 200,
        b"",
    ],
)
def test_xml_with_entities_or_damage_is_refused(document: bytes) -> None:
    with pytest.raises(FormatError):
        read_xml(document, where="x")


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_xml_or_refused(raw: bytes) -> None:
    try:
        root = read_xml(b"<a>" + raw + b"</a>", where="x")
    except FormatError:
        return
    assert root.name == "a"


def test_an_unknown_property_is_refused_with_its_name() -> None:
    raw = (DATA / "waterml" / "well.xml").read_bytes().replace(b"property/depth_to_water", b"property/72.99")
    with pytest.raises(FormatError, match=r"72\.99"):
        waterml(raw)


def things(raw: bytes, content: dict[str, object] | None = None, **flags: str) -> ParsedPayload:
    profile = parse_profile({"format": "sensorthings", **content}, "p") if content is not None else None
    return FORMATS["sensorthings"].parse(raw, profile, ImportContext("x.json", **flags))


def test_expanded_observations_say_station_property_unit_and_extent() -> None:
    payload = things((DATA / "sensorthings" / "expanded.json").read_bytes())
    assert [(s.station, s.property_code, s.unit) for s in payload.streams] == [("JX-W01", "depth_to_water", "m")]
    rows = payload.columns
    assert (rows.result.tolist(), rows.quality.tolist()) == ([5.23, 5.25], [1, 3])
    assert np.isnat(rows.end[0])
    assert str(rows.end[1]) == "2026-01-02T02:00:00.000000"
    assert rows.result_time is not None
    assert str(rows.result_time[0]) == "2026-01-02T00:00:05.000000"
    assert [(r.line, r.code) for r in payload.rejected] == [(3, "time")]
    assert "next_page" in payload.notes


def test_a_data_array_says_the_same() -> None:
    payload = things((DATA / "sensorthings" / "data_array.json").read_bytes())
    assert payload.columns.result.tolist() == pytest.approx([5.23, np.nan], nan_ok=True)
    assert payload.columns.quality.tolist() == [1, 9]
    assert [(r.line, r.code) for r in payload.rejected] == [(3, "time")]


def test_a_plain_list_takes_the_rest_from_profile_and_flag() -> None:
    rows = [
        {"phenomenonTime": f"2026-01-02T0{i}:00:00Z", "result": i, "Datastream@iot.navigationLink": "u/Datastreams(7)"}
        for i in range(3)
    ]
    raw = json.dumps({"value": rows}).encode()
    assert {reject.code for reject in things(raw).rejected} != set()
    content: dict[str, object] = {"columns": [{"match": "7", "property": "depth_to_water", "unit": "cm", "scale": 2}]}
    payload = things(raw, content, station="JX-W01")
    assert (payload.streams[0].station, payload.streams[0].unit) == ("JX-W01", "cm")
    assert payload.columns.result.tolist() == [0.0, 2.0, 4.0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("2026-01-02T00:00:00Z"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "value",
                        "Observations",
                        "Datastream",
                        "components",
                        "dataArray",
                        "result",
                        "phenomenonTime",
                        "Thing",
                        "name",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(content: object) -> None:
    try:
        payload = things(json.dumps(content).encode(), station="S1")
    except FormatError:
        return
    assert len(payload.columns) == 0 or not np.isnat(payload.columns.time).any()
