"""Columns of native JSON: as arrays they say what they say element by element."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import FormatError
from domain.model import Datastream, Station, StationKind
from ingest.formats.native_json import Elements, elements_of, parse_elements
from ingest.messages import Message
from ingest.pipeline import Pipeline
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

TIMES = st.one_of(
    st.lists(st.integers(-5, 10**14), min_size=4, max_size=8),
    st.lists(st.floats(-1, 2e14), min_size=4, max_size=8),
    st.lists(st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat), min_size=4, max_size=8),
    st.lists(st.sampled_from([1, 2.5, True, None, "2024-01-01T24:00:00Z", "2024-01-01", "x", 1e300]), min_size=4, max_size=8),
)
VALUES = st.one_of(
    st.floats(allow_nan=False),
    st.integers(),
    st.sampled_from([None, True, "1", 10**400, {"value": 1, "sigma": 0.1}]),
)


def one_by_one(found: Elements) -> list[tuple[Any, ...]]:
    elements = [*found.values, *(element for run in found.runs for element in elements_of(run))]
    return sorted(map(repr, elements))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=150)
@given(times=TIMES, data=st.data(), key=st.sampled_from(["depth_to_water", "depth_to_water:upper", "a:", "Ä"]))
def test_arrays_and_elements_agree(times: list[Any], data: st.DataObject, key: str) -> None:
    columns = {name: data.draw(st.lists(VALUES, min_size=len(times), max_size=len(times))) for name in (key, "water_temperature")}
    raw = json.dumps({"t": times, **columns}, allow_nan=True).encode()
    try:
        single = parse_elements(raw, where="x")
    except FormatError:
        with pytest.raises(FormatError):
            parse_elements(raw, where="x", as_runs=True)
        return
    whole = parse_elements(raw, where="x", as_runs=True)
    assert one_by_one(whole) == one_by_one(single)
    assert whole.rejected == single.rejected


def test_plain_columns_become_arrays() -> None:
    found = parse_elements(b'{"t": [1, 2, 3, 1700000000000], "a": [1, 2.5, -3, 0]}', where="x", as_runs=True)
    assert not found.values
    assert found.runs[0].time_us.tolist() == [1_000_000, 2_000_000, 3_000_000, 1_700_000_000_000_000]
    assert found.runs[0].result.tolist() == [1.0, 2.5, -3.0, 0.0]


@pytest.fixture
def well(registry: MemoryRegistry) -> Datastream:
    registry.add_station(Station("W1", StationKind.OBSERVATION_WELL, "W1", "W1"), actor="test")
    return registry.add_datastream(Datastream("W1", "depth_to_water", "m"), actor="test")


def test_arrays_are_stored_checked_and_refused_like_elements(pipeline: Pipeline, store: MemoryStore, well: Datastream) -> None:
    ahead, first_s = int(NOW.timestamp()) + 3 * 86400, 1_767_225_600
    times = [first_s + 60 * minute for minute in range(7)]
    body = {"t": [*times[:3], ahead], "depth_to_water": [500, 100, 1e9, 4], "unit": {"depth_to_water": "cm"}}
    plain = {"t": times[3:], "depth_to_water": [1, 2, 3, 1e9], "no_such": [1, 2, 3, 4]}
    messages = [Message("W1", json.dumps(item).encode(), NOW, "gw/v1/stations/W1/obs") for item in (body, plain)]
    first, second = pipeline.ingest_messages(messages, NOW)
    assert (first.observations, [item.code for item in first.rejects]) == (3, ["clock"])
    assert (second.observations, [item.line for item in second.rejects]) == (4, [1, 2, 3, 4])
    assert {item.code for item in second.rejects} == {"property"}
    assert list(store.values(well).values()) == [5.0, 1.0, 1e7, 1.0, 2.0, 3.0, 1e9]
    assert [store.row(well, f"2026-01-01T00:0{minute}:00")[3] for minute in (0, 2, 6)] == [1, 4, 4]
