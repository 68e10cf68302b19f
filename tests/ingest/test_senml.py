"""SenML against the examples of RFC 8428, and against what the RFC demands of a reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FormatError
from domain.model import Datastream, Station, StationKind
from ingest.formats import FORMATS, MESSAGE_FORMATS, ImportContext, MessageContext
from ingest.formats.senml import place, resolve
from ingest.formats.senml_units import PRIMARY, SECONDARY
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.profile import parse_profile
from ingest.transports.topics import message_of
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data" / "senml"
EXAMPLES = ("ex1", "ex2", "ex3", "ex4", "ex5", "ex6", "ex8")
# RFC 8428 section 6: the CBOR of the third example.
RFC_CBOR = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b0010622361412005006776"
    "6f6c746167650161560"
    "2fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccd"
    "a3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3ff9"
    "99999999999aa3006763757272656e74060002fb3ffb333333333333"
)


def pack(*records: dict[str, object]) -> bytes:
    return json.dumps(records).encode()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc_resolve_as_it_says(name: str, shared_data: Path) -> None:
    folder = shared_data / "loggers" / "senml"
    expected = json.loads((folder / f"{name}.gen.resolved.json").read_text())
    absolute = [record.get("t", 0) for record in expected]
    # The RFC resolved its "now" examples at this moment.
    now_s = 1498780179.0 if name == "ex2" else absolute[0]
    found = resolve((folder / f"{name}.json").read_bytes(), now_s=now_s, where=name)
    assert found.rejected == []
    by_time = sorted(found.records, key=lambda record: record.time_s)
    expected.sort(key=lambda record: record["t"])
    assert [(r.name, r.value) for r in by_time] == [(e["n"], e["v"]) for e in expected]
    assert [r.time_s for r in by_time] == pytest.approx([e["t"] for e in expected], abs=1e-6)


def test_the_cbor_example_of_the_rfc_equals_its_json_example(shared_data: Path) -> None:
    example = resolve((shared_data / "loggers" / "senml" / "ex3.json").read_bytes(), now_s=0.0, where="x")
    found = resolve(RFC_CBOR, now_s=0.0, where="x")
    assert found.records == example.records
    assert len(found.records) == 7
    assert FORMATS["senml"].sniff(RFC_CBOR, "x") == 0.95


def test_the_sample_gives_values_units_sums_and_rejects() -> None:
    payload = FORMATS["senml"].parse((DATA / "well.json").read_bytes(), None, ImportContext("well.json"))
    assert [(s.station, s.property_code, s.channel, s.unit) for s in payload.streams] == [
        ("JX-W01", "depth_to_water", None, "mm"),
        ("JX-W01", "water_temperature", None, "Cel"),
        ("JX-W01", "battery_voltage", None, "V"),
        ("JX-W01", "pump_power", "sum", "kW.s"),
    ]
    assert payload.columns.result.tolist() == [5230, 5241, 18.2, 18.3, 3.61, 12.5]
    assert np.datetime_as_string(payload.columns.time[:2], unit="s").tolist() == ["2026-01-01T19:04:05", "2026-01-01T20:04:05"]
    assert [(r.line, r.code) for r in payload.rejected] == [(7, "value"), (8, "unit")]
    assert payload.streams[2].interval_s == 7200
    cbor = FORMATS["senml"].parse((DATA / "well.senmlc").read_bytes(), None, ImportContext("well.senmlc"))
    assert cbor.columns.result.tolist() == [18.2, 18.3, 5.23]


def test_relative_times_count_from_the_receipt_and_a_file_has_none() -> None:
    received = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    raw = pack(
        {"n": "depth_to_water", "v": 1}, {"n": "depth_to_water", "t": -60, "v": 2}, {"n": "depth_to_water", "t": 60.5, "v": 3}
    )
    elements = MESSAGE_FORMATS["senml"].elements(raw, MessageContext("topic", received, "W1")).values
    base = round(received.timestamp() * 1e6)
    assert [element.time_us - base for element in elements] == [0, -60_000_000, 60_500_000]
    payload = FORMATS["senml"].parse(raw, None, ImportContext("x", station="W1"))
    assert (len(payload.columns), {reject.code for reject in payload.rejected}) == (0, {"time"})
    profile = parse_profile({"format": "senml", "time": {"origin": "2026-01-02T03:04:05Z"}}, "origin")
    dated = FORMATS["senml"].parse(raw, profile, ImportContext("x", station="W1"))
    assert dated.columns.time.astype(np.int64).tolist() == [element.time_us for element in elements]


@pytest.mark.parametrize(
    "raw",
    [
        pack({"bver": 11, "n": "a", "v": 1}),
        pack({"bver": 9, "n": "a", "v": 1}, {"bver": 10, "n": "a", "v": 1}),
        pack({"n": "a", "v": 1, "extension_": 1}),
        pack({"n": "a", "v": 1}, {"bn": 5, "n": "b", "v": 1}),
        b"{}",
        b"[NaN]",
        b"\x81",
    ],
)
def test_a_pack_that_must_not_be_used_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(FormatError):
        resolve(raw, now_s=0.0, where="x")


def test_records_that_cannot_be_used_are_refused_alone() -> None:
    records: list[dict[str, object]] = [
        {"n": "_bad", "v": 1},
        {"n": "a b", "v": 1},
        {"v": 1},
        {"n": "x", "v": 1, "vb": True},
        {"n": "x"},
        {"n": "x", "v": "1"},
        {"n": "x", "t": 1.767e12, "v": 1},
        {"n": "x", "vs": "text"},
        {"n": "x", "u": "furlong", "v": 1},
    ]
    found = resolve(pack(*records, {"n": "x", "vb": True}), now_s=0.0, where="x")
    assert [reject.line for reject in found.rejected] == list(range(1, 10))
    assert [record.value for record in found.records] == [1.0]
    assert all(json.loads(reject.raw) == records[reject.line - 1] for reject in found.rejected)


def test_base_values_and_sums_are_added_and_a_missing_one_is_zero() -> None:
    records = pack(
        {"bn": "a:", "bt": 2**28, "bv": 20, "bs": 100, "bu": "m", "n": "x", "v": 1.5},
        {"n": "y", "s": 1},
        {"n": "z", "u": "mm", "v": -20, "s": 2},
        {"bn": "b:", "bv": 0},
        {"n": "x", "v": 1},
    )
    found = resolve(records, now_s=None, where="x").records
    assert [(r.name, r.unit, r.value, r.sum) for r in found] == [
        ("a:x", "m", 21.5, 100),
        ("a:y", "m", None, 101),
        ("a:z", "mm", 0.0, 102),
        ("b:x", "m", 1.0, 100),
    ]


@pytest.mark.parametrize(
    ("name", "station", "expected"),
    [
        ("urn:groundwatch:jiaxing:JX-W01:head:upper", None, ("JX-W01", "head:upper")),
        ("urn:groundwatch:jiaxing:JX-W01:head", "JX-W02", ("JX-W01", "head")),
        ("urn:dev:ow:10e2:head", "JX-W01", ("JX-W01", "head")),
        ("2001:db8::1/head", None, ("2001:db8::1", "head")),
        ("jx-w01:head", "JX-W01", ("JX-W01", "head")),
        ("head", None, (None, "head")),
    ],
)
def test_names_say_station_and_property(name: str, station: str | None, expected: tuple[str | None, str]) -> None:
    assert place(name, station) == expected


def test_every_unit_has_one_meaning() -> None:
    assert not PRIMARY.keys() & SECONDARY.keys()


@given(
    st.lists(
        st.tuples(st.sampled_from(["depth_to_water", "head:a", "ph"]), st.integers(2**28, 2**31), st.floats(-1e6, 1e6)),
        min_size=1,
    ),
    st.integers(0, 10**6),
    st.floats(-100, 100),
)
def test_a_pack_with_base_fields_says_what_the_resolved_pack_says(rows: list[tuple[str, int, float]], bt: int, bv: float) -> None:
    resolved = [{"n": f"W1:{name}", "t": time + bt, "v": value + bv} for name, time, value in rows]
    short = [{"n": name, "t": time, "v": value} for name, time, value in rows]
    short[0] = {"bn": "W1:", "bt": bt, "bv": bv, **short[0]}
    plain = resolve(json.dumps(resolved).encode(), now_s=None, where="x").records
    assert resolve(json.dumps(short).encode(), now_s=None, where="x").records == pytest.approx(plain)
    assert resolve(cbor2.dumps(short), now_s=None, where="x").records == plain


def test_a_message_is_stored_in_its_datastreams_unit(pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore) -> None:
    registry.add_station(Station("W1", StationKind.OBSERVATION_WELL, "W1", "W1"), actor="test")
    depth = registry.add_datastream(Datastream("W1", "depth_to_water", "m"), actor="test")
    topic = "gw/v1/stations/W1/senml"
    raw = pack(
        {"bn": "urn:dev:ow:1:", "bt": 1767294240, "n": "depth_to_water", "u": "cm", "v": 523},
        {"n": "depth_to_water", "u": "mm", "t": 60, "v": 5240},
        {"n": "depth_to_water", "u": "Cel", "t": 120, "v": 5240},
        {"bn": "urn:groundwatch:jiaxing:W2:", "n": "depth_to_water", "u": "m", "v": 1},
    )
    message = message_of(topic, raw, NOW)
    assert message == Message("W1", raw, NOW, topic, None, "senml")
    assert message is not None
    receipt = pipeline.ingest_messages([message], NOW)[0]
    assert list(store.values(depth).values()) == [5.23, 5.24]
    assert [(reject.line, reject.code) for reject in receipt.rejects] == [(3, "unit"), (4, "station")]
    assert store.batches[0].format == "senml"
