"""LoRaWAN uplinks of ChirpStack v4: codecs, copies over gateways, time, health."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigurationError, FormatError, InputError
from domain.model import Datastream, Station, StationKind
from domain.units import convert
from ingest.codec import codec_named, parse_codec, shipped_codecs
from ingest.formats import FORMATS, MESSAGE_FORMATS, ImportContext, MessageContext
from ingest.formats.native_json import Elements
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.profile import parse_profile
from ingest.transports.topics import message_of
from ingest.uplinks import WINDOW_US, UplinkMemory
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "chirpstack" / "uplinks.jsonl"
EVENTS: list[dict[str, Any]] = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
VENDOR_NAMES = {
    "Water depth": "water_pressure",
    "Pressure": "water_pressure",
    "Temperature": "water_temperature",
    "Temperature (PT1000)": "water_temperature",
    "Temperature (electronics)": "logger_temperature",
    "Electrical conductivity": "electrical_conductivity",
    "Battery voltage": "battery_voltage",
}
VENDOR_UNITS = {"mm": "mm[H2O]", "bar": "bar", "°C": "Cel", "µS⋅cm⁻¹": "uS/cm", "mS⋅cm⁻¹": "mS/cm", "V": "V"}
PARAMETERS: dict[str, dict[str, float]] = {"DL-PR21 (Pmin=-1.0,Pmax=10.0)": {"pmin_bar": -1.0, "pmax_bar": 10.0}}


def elements(event: dict[str, Any], **attributes: Any) -> Elements:
    context = MessageContext("application/1/device/x/event/up", NOW, "JX-W01", attributes)
    return MESSAGE_FORMATS["chirpstack"].elements(json.dumps(event).encode(), context)


def test_the_vendors_vectors_decode_to_their_given_values(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "loggers" / "lorawan" / "decentlab_payloads.json").read_text())
    models = {model for codec in shipped_codecs().values() for model in codec.models}
    tried = 0
    for vector in vectors:
        model = vector["sensor"].split(" ")[0]
        if model not in models:
            continue
        tried += 1
        codec = codec_named(model, where="x")
        found = codec.decode(bytes.fromhex(vector["payload_hex"]), PARAMETERS.get(vector["sensor"], {}), where="x")
        expected = {
            VENDOR_NAMES[name]: (entry["value"], VENDOR_UNITS[entry["unit"]])
            for name, entry in vector["decoded"].items()
            if name in VENDOR_NAMES
        }
        assert {value.key for value in found} == expected.keys()
        for value in found:
            number, unit = expected[value.key]
            assert value.unit is not None
            assert convert(value.value, value.unit, unit) == pytest.approx(number, rel=1e-12), (model, value.key)
    assert tried == 5


def test_copies_over_gateways_are_one_observation_and_a_reset_is_no_loss() -> None:
    payload = FORMATS["chirpstack"].parse(SAMPLE.read_bytes(), None, ImportContext("uplinks.jsonl"))
    codes = [s.property_code + (f":{s.channel}" if s.channel else "") for s in payload.streams]
    assert codes == ["water_pressure", "water_temperature", "battery_voltage", "signal_strength", "signal_strength:snr"]
    assert {s.station for s in payload.streams} == {"JX-W01"}
    pressure = payload.columns.take(payload.columns.stream == 0)
    assert pressure.result.tolist() == [(raw - 16384) / 32768 for raw in (0x3E80, 0x3E90, 0x3EA0, 0x3EB0)]
    assert np.datetime_as_string(pressure.time, unit="ms").tolist()[:2] == ["2026-01-02T03:04:05.250", "2026-01-02T04:04:05.250"]
    strength = payload.columns.take(payload.columns.stream == 3)
    assert strength.result.tolist() == [-57.0] * 4
    assert payload.notes["copies"] == [{"line": 3, "device": "70b3d57ba0000001", "fCnt": 119}]
    assert payload.notes["frame_gaps"] == [{"line": 4, "device": "70b3d57ba0000001", "missing": 2}]
    assert payload.notes["frame_resets"] == [{"line": 5, "device": "70b3d57ba0000001", "from": 122, "to": 0}]
    assert [(r.line, "too short" in r.reason) for r in payload.rejected] == [(6, True)]


def test_the_time_is_the_devices_then_the_events_then_a_gateways_then_that_of_receipt() -> None:
    event = {key: value for key, value in EVENTS[0].items() if key != "data"} | {"object": {"water_pressure": 4.5}}
    clock = {
        "object": {"ts": {"property": "time"}, "p": {"property": "water_pressure", "unit": "kPa"}},
        "title": "t",
        "source": "s",
    }
    codec = parse_codec(clock, "clock")
    assert [value.key for value in codec.decode_object({"ts": 1767300000, "p": 1}, {}, where="x")] == ["time", "water_pressure"]
    stated = elements(event).values[0]
    assert (stated.time_us, stated.quality, stated.reasons) == (1767323045_250000, 1, None)
    untimed = {key: value for key, value in event.items() if key != "time"}
    untimed["rxInfo"] = [{"gwTime": "2026-01-02T03:04:06Z"}, {"gwTime": "2026-01-02T03:04:05Z", "rssi": -100}]
    assert elements(untimed).values[0].time_us == 1767323045_000000
    untimed["rxInfo"] = []
    received = elements(untimed).values[0]
    assert (received.time_us, received.quality, received.reasons) == (round(NOW.timestamp() * 1e6), 2, ("clock",))
    with pytest.raises(FormatError, match="no line"):
        FORMATS["chirpstack"].parse(b"\n".join([b"x", b"y"]), None, ImportContext("x"))


def test_what_the_network_server_decoded_is_taken_by_property_names_or_by_a_map() -> None:
    event = EVENTS[0] | {"object": {"depth_to_water": 5.25, "note": "x", "ok": True, "Bad": 1}}
    event["deviceInfo"] = event["deviceInfo"] | {"deviceProfileName": "own"}
    assert [(e.key, e.result) for e in elements(event).values if "signal" not in e.key] == [("depth_to_water", 5.25)]
    assert elements(event).units.keys() == {"signal_strength", "signal_strength:snr"}
    assert next(e.key for e in elements(event, channel="upper").values) == "depth_to_water:upper"
    with pytest.raises(InputError, match="no codec"):
        elements(EVENTS[0], codec="unknown")
    with pytest.raises(InputError, match="no codec says"):
        elements({**event, "object": None})


def test_a_codec_reads_tags_bits_floats_and_missing_markers() -> None:
    content = {
        "title": "t",
        "source": "s",
        "byte_order": "little",
        "ports": [2],
        "tagged": {
            "01": [{"property": "depth_to_water", "type": "float32", "unit": "m"}],
            "02": [{"property": "battery_voltage", "unit": "V", "mask": 0x0FFF, "divide": 1000, "missing": [4095]}],
            "03": [{"property": "time", "type": "uint32"}],
        },
    }
    codec = parse_codec(content, "t")
    raw = bytes.fromhex("01" + "0000a040" + "02" + "ffff" + "03" + "e0e35669")
    found = {value.key: value.value for value in codec.decode(raw, {}, where="x")}
    assert (found["depth_to_water"], found["time"]) == (5.0, 0x6956E3E0)
    assert np.isnan(found["battery_voltage"])
    with pytest.raises(FormatError, match="no tag 09"):
        codec.decode(b"\x09", {}, where="x")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"title": "t", "source": "s"},
        {"title": "t", "source": "s", "fields": [{"property": "depth_to_water"}]},
        {"title": "t", "source": "s", "fields": [{"property": "depth_to_water", "unit": "m", "type": "uint128"}]},
        {"title": "t", "source": "s", "fields": [{"property": "Depth", "unit": "m"}]},
        {"title": "t", "source": "s", "tagged": {"01": [{}], "0102": [{}]}},
        {"title": "t", "source": "s", "fields": [{}], "byte_order": "middle"},
        {"title": "t", "source": "s", "fields": [{}], "bytes": 1},
    ],
)
def test_a_codec_with_a_mistake_is_refused(content: object) -> None:
    with pytest.raises(ConfigurationError):
        parse_codec(content, "mistaken")


@pytest.mark.parametrize("name", sorted(shipped_codecs()))
@given(payload=st.binary(max_size=40))
def test_no_payload_breaks_a_codec(name: str, payload: bytes) -> None:
    try:
        values = shipped_codecs()[name].decode(payload, {}, where="x")
    except FormatError:
        return
    registry = MemoryRegistry()
    for value in values:
        observed = registry.observed_property(value.key)
        assert observed is not None
        assert value.unit is not None
        convert(1.0, value.unit, observed.unit)


def test_the_memory_of_uplinks_is_bounded_and_forgets_after_its_window() -> None:
    memory = UplinkMemory(capacity=2)
    assert memory.first_time_us(("a",), 1000) is None
    assert memory.first_time_us(("a",), 1500) == 1000
    assert memory.first_time_us(("a",), 500) == 1000
    assert memory.first_time_us(("a",), 1001 + WINDOW_US) is None
    assert memory.first_time_us(("b",), 0) is None
    assert memory.first_time_us(("c",), 0) is None
    assert memory.first_time_us(("a",), 1001 + WINDOW_US) is None


def test_a_file_is_placed_by_flag_profile_or_tag() -> None:
    untagged = EVENTS[0] | {"deviceInfo": EVENTS[0]["deviceInfo"] | {"tags": {}}}
    raw = json.dumps([untagged]).encode()
    refused = FORMATS["chirpstack"].parse(raw, None, ImportContext("x.json"))
    assert (["which station" in r.reason or "at which" in r.reason for r in refused.rejected], len(refused.columns)) == (
        [True],
        0,
    )
    profile = parse_profile({"format": "chirpstack", "station": {"codes": {"70b3d57ba0000001": "JX-W09"}}}, "p")
    assert FORMATS["chirpstack"].parse(raw, profile, ImportContext("x.json")).streams[0].station == "JX-W09"
    assert FORMATS["chirpstack"].parse(raw, None, ImportContext("x.json", station="JX-W10")).streams[0].station == "JX-W10"


def test_the_same_file_twice_changes_nothing(pipeline: Pipeline, store: MemoryStore) -> None:
    first = pipeline.ingest_file(SAMPLE.read_bytes(), SAMPLE.name, actor="test", now=NOW)
    assert (first.format, first.accepted, first.rejected) == ("chirpstack", 20, 1)
    again = pipeline.ingest_file(SAMPLE.read_bytes(), SAMPLE.name, actor="test", now=NOW)
    assert (again.accepted, again.corrected, again.duplicate) == (0, 0, 20)


def test_the_topic_names_the_device() -> None:
    data = base64.b64encode(b"x")
    message = message_of("application/ca739e26/device/70b3d57ba0000001/event/up", data, NOW)
    assert message is not None
    assert (message.format, message.station, message.device) == ("chirpstack", "", "70b3d57ba0000001")
    assert message_of("application/ca739e26/device/70b3d57ba0000001/event/join", data, NOW) is None


def test_three_copies_in_several_commits_are_one_observation(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    registry.add_station(Station("JX-W01", StationKind.OBSERVATION_WELL, "W", "W"), actor="test")
    pressure = registry.add_datastream(Datastream("JX-W01", "water_pressure", "kPa"), actor="test")
    temperature = registry.add_datastream(Datastream("JX-W01", "water_temperature", "Cel"), actor="test")
    times = ("2026-01-02T03:04:05.250Z", "2026-01-02T03:04:05.910Z", "2026-01-02T03:04:07Z")
    copies = [Message("JX-W01", json.dumps(EVENTS[0] | {"time": time}).encode(), NOW, "t", format="chirpstack") for time in times]
    receipts = [*pipeline.ingest_messages(copies[:2], NOW), *pipeline.ingest_messages(copies[2:], NOW)]
    assert store.values(pressure) == {"2026-01-02T03:04:05": pytest.approx((0x3E80 - 16384) / 32768 * 100)}
    assert len(store.values(temperature)) == 1
    # Nobody configured datastreams for the health of the device, so it is passed over; the payload is kept.
    assert [(receipt.observations, receipt.rejects) for receipt in receipts] == [(2, ())] * 3
    assert store.revisions == []
