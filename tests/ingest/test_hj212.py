"""HJ 212: the standard's own sample, real packets, marks, means, split messages and damage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import FormatError, InputError
from ingest.formats import FORMATS, MESSAGE_FORMATS, ImportContext, MessageContext
from ingest.formats.crc import crc16_hj212
from ingest.formats.hj212_packet import answer, packet_fault, packet_length, packet_of, read_packet
from ingest.formats.native_json import NO_END, Element, Elements
from tests.ingest.rtu import packet, wrapped

DATA = Path(__file__).resolve().parents[1] / "data" / "hj212"
MORNING = datetime(2025, 6, 1, tzinfo=UTC)
OFFICIAL = b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80\r\n"
"""HJ 212-2017 appendix A."""


def parsed(raw: bytes, attributes: Mapping[str, Any] | None = None) -> Elements:
    return MESSAGE_FORMATS["hj212"].elements(raw, MessageContext("tcp", MORNING, "T1", attributes or {}))


def values(found: Elements) -> dict[str, float]:
    return {item.key: item.result for item in found.values}


def span(item: Element) -> tuple[datetime, datetime | None]:
    end = None if item.end_us == NO_END else datetime.fromtimestamp(item.end_us / 1e6, UTC)
    return datetime.fromtimestamp(item.time_us / 1e6, UTC), end


# --- packets -----------------------------------------------------------------------------------------------------------


def test_the_standards_own_sample_is_sound_and_with_the_checksum_of_modbus_it_is_not() -> None:
    assert packet_length(OFFICIAL, 0) == len(OFFICIAL)
    assert packet_fault(OFFICIAL) is None
    read = read_packet(OFFICIAL)
    assert (read.command, read.device, read.wants_answer, read.fields) == (
        "1062",
        "010000A8900016F000169DC0",
        True,
        {"RtdInterval": "30"},
    )
    assert [item.code for item in parsed(OFFICIAL).rejected] == ["function"]  # a command holds no observations
    modbus = OFFICIAL.replace(b"1C80", b"0759")
    found = parsed(modbus)
    assert [(item.code, item.raw) for item in found.rejected] == [("crc", modbus)]
    assert "Modbus" in found.rejected[0].reason


def test_the_shared_vectors_decode_to_their_values_and_wrong_checksums_are_refused(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "loggers" / "hj212" / "frames.json").read_text(encoding="utf-8"))
    assert {vector["crc_ok"] for vector in vectors} == {True, False}
    for vector in vectors:
        raw = vector["frame"].encode()
        assert packet_length(raw, 0) == len(raw)
        assert len(raw) - 12 == vector["declared_length"] == vector["body_length"]
        assert f"{crc16_hj212(raw[6:-6]):04X}" == vector["crc_calc"]
        assert (packet_fault(raw) is None) is vector["crc_ok"]
        read = read_packet(raw)
        assert read.device == vector["MN"]
        assert read.fields["DataTime"] == vector["DataTime"]
        assert {name: read.fields.get(name) for name in vector["values"]} == vector["values"]
        found = parsed(raw)
        if vector["crc_ok"]:
            assert {item.code for item in found.rejected} == {"element"}  # air pollutants have no place here: kept, not dropped
            kept = {
                name.decode() for item in found.rejected for part in item.raw.split(b",") for name in [part.partition(b"=")[0]]
            }
            assert kept == set(vector["values"])
        else:
            assert found.values == []
            assert [(item.code, item.raw) for item in found.rejected] == [("crc", raw)]


def test_a_flipped_bit_is_always_refused() -> None:
    sound = packet(["w01010-Rtd=28.6,w01010-Flag=N"])
    for position in range(len(sound)):
        for bit in range(8):
            raw = bytearray(sound)
            raw[position] ^= 1 << bit
            try:
                found = parsed(bytes(raw))
            except FormatError:
                assert position < 6
                continue
            if found.values:  # the checksum is read in any case: CC01 and cc01 are the same
                assert len(sound) - 6 <= position < len(sound) - 2
                assert bytes(raw).lower() == sound.lower()
            else:
                assert [item.code for item in found.rejected] == ["crc"]


def test_an_answer_echoes_the_request() -> None:
    sent = read_packet(packet(["w01010-Rtd=28.6"]))
    assert answer(sent, "9014") == wrapped("QN=20250601080000123;ST=91;CN=9014;PW=123456;MN=JX0000TAIL01;Flag=4;CP=&&&&")
    assert sent.wants_answer
    assert not read_packet(packet([], flag=4)).wants_answer
    assert not read_packet(packet([], flag=None)).wants_answer


def test_text_of_older_devices_is_read_as_gb18030() -> None:
    body = "ST=32;CN=2011;MN=水厂1;CP=&&DataTime=20250601080000;w01010-Rtd=20&&".encode("gb18030")
    raw = b"##%04d" % len(body) + body + b"%04X\r\n" % crc16_hj212(body)
    assert read_packet(raw).device == "水厂1"
    assert read_packet(packet_of("MN=水厂1;CP=&&&&")).device == "水厂1"


# --- values ------------------------------------------------------------------------------------------------------------


def test_values_are_instants_of_beijing_time_and_marks_are_flags() -> None:
    found = parsed(
        packet(
            [
                "w01010-Rtd=28.6,w01010-Flag=N",
                "w01014-Rtd=1250,w01014-Flag=D",
                "w01001-Rtd=7.61,w01001-Flag=S",
                "w01006-Rtd=800",
                "w21022-Rtd=90,w21022-Flag=Z",
            ]
        )
    )
    assert [(item.key, item.result, item.quality, item.reasons) for item in found.values] == [
        ("tail_water_temperature", 28.6, 1, None),
        ("electrical_conductivity", 1250.0, 4, ("source_flag",)),
        ("ph", 7.61, 1, ("manual",)),
        ("total_dissolved_solids", 800.0, 2, None),
        ("chloride", 90.0, 3, ("source_flag",)),
    ]
    assert {span(item) for item in found.values} == {(MORNING, None)}
    assert found.rejected == []


@pytest.mark.parametrize("mark", ["D", "M", "C", "B", "F", "T"])
def test_no_mark_but_normal_and_manual_is_used(mark: str) -> None:
    (item,) = parsed(packet([f"w01010-Rtd=28.6,w01010-Flag={mark}"])).values
    assert item.result == 28.6
    assert item.quality in {3, 4}
    assert item.reasons


@pytest.mark.parametrize(
    ("command", "channel", "seconds"), [("2051", "mean_minute", 600), ("2061", "mean_1h", 3600), ("2031", "mean_1d", 86400)]
)
def test_means_have_their_extent_and_a_channel_apart_from_instants(command: str, channel: str, seconds: int) -> None:
    group = "w01010-Min=28.1,w01010-Avg=28.4,w01010-Max=28.9,w01010-ValidNum=10,w01010-Flag=N"
    found = parsed(packet([group], command=command))
    assert values(found) == {f"tail_water_temperature:{channel}": 28.4}
    assert span(found.values[0]) == (MORNING, MORNING + timedelta(seconds=seconds))
    assert found.rejected == []
    other = parsed(packet([group], command=command), {"periods": {command: 60}})
    assert span(other.values[0]) == (MORNING, MORNING + timedelta(seconds=60))


def test_a_flow_without_a_stated_unit_is_kept_until_somebody_states_it() -> None:
    raw = packet(["w00000-Rtd=2.5,w00000-Flag=N"])
    found = parsed(raw)
    assert found.values == []
    assert [(item.code, item.raw) for item in found.rejected] == [("unit", b"w00000-Rtd=2.5")]
    stated = parsed(raw, {"elements": {"w00000": {"unit": "m3/h"}}})
    assert (values(stated), stated.units) == ({"tail_water_rate": 2.5}, {"tail_water_rate": "m3/h"})


def test_unknown_factors_and_fields_are_kept_and_a_device_may_name_or_ignore_them() -> None:
    raw = packet(["w99999-Rtd=1.5,w99999-Flag=N", "w00000-Cou=9"])
    assert [(item.code, item.raw) for item in parsed(raw).rejected] == [
        ("element", b"w99999-Rtd=1.5,w99999-Flag=N"),
        ("element", b"w00000-Cou=9"),
    ]
    named = {"elements": {"W99999": {"property": "spring_discharge", "unit": "L/s"}}, "ignored": ["w00000"]}
    found = parsed(raw, named)
    assert values(found) == {"spring_discharge": 1.5}
    assert found.rejected == []


def test_values_that_are_left_out_are_missing_and_what_is_no_number_is_refused() -> None:
    found = parsed(packet(["w01010-Rtd=,w01010-Flag=N", "w01014-Rtd=--", "w01001-Rtd=n/a", "w01006-Rtd=inf"]))
    assert [item.quality for item in found.values] == [9, 9]
    assert all(math.isnan(item.result) for item in found.values)
    assert [(item.code, item.raw) for item in found.rejected] == [("value", b"w01001-Rtd=n/a"), ("value", b"w01006-Rtd=inf")]


@pytest.mark.parametrize("time", ["20250230080000", "2025060108", "2025060108000x", None])
def test_a_packet_without_a_time_is_refused_whole(time: str | None) -> None:
    raw = packet(["w01010-Rtd=28.6"], time=time)
    assert [(item.code, item.raw) for item in parsed(raw).rejected] == [("time", raw)]


def test_a_later_packet_of_a_split_message_has_the_time_of_the_first() -> None:
    first = packet(["w01010-Rtd=28.6,w01010-Flag=N"], split=(2, 1), flag=7)
    second = packet(["w01014-Rtd=1250,w01014-Flag=N"], split=(2, 2), flag=7, time=None)
    assert values(parsed(first + second)) == {"tail_water_temperature": 28.6, "electrical_conductivity": 1250.0}
    stranger = packet(["w01014-Rtd=1250"], time=None, request="20250601090000000")
    assert [item.code for item in parsed(first + stranger).rejected] == ["time"]


def test_a_file_of_several_devices_goes_to_each_of_them() -> None:
    sample = (DATA / "tail_water.txt").read_bytes()
    other = packet(["w01010-Rtd=30"], device="JX0000TAIL02")
    payload = FORMATS["hj212"].parse(sample + other + sample[:50], None, ImportContext("x.txt"))
    assert {(item.station, item.channel) for item in payload.streams} == {
        ("JX0000TAIL01", None),
        ("JX0000TAIL01", "mean_1h"),
        ("JX0000TAIL02", None),
    }
    assert [item.code for item in payload.rejected] == ["crc"]


# --- properties and fuzz -------------------------------------------------------------------------------------------------

FACTORS = {
    "w01010": "tail_water_temperature",
    "w01014": "electrical_conductivity",
    "w01001": "ph",
    "w01006": "total_dissolved_solids",
    "w21022": "chloride",
}


@given(
    st.dictionaries(st.sampled_from(sorted(FACTORS)), st.decimals(-9999, 9999, places=3), min_size=1),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - a wall time, as packets carry
    st.from_regex(r"[A-Z0-9]{1,24}", fullmatch=True),
)
def test_what_a_device_encodes_is_what_is_read(wanted: dict[str, Any], moment: datetime, device: str) -> None:
    raw = packet(
        [f"{code}-Rtd={number},{code}-Flag=N" for code, number in wanted.items()], time=f"{moment:%Y%m%d%H%M%S}", device=device
    )
    found = parsed(raw)
    assert values(found) == {FACTORS[code]: float(number) for code, number in wanted.items()}
    assert found.rejected == []
    assert {span(item)[0] for item in found.values} == {moment.replace(microsecond=0, tzinfo=UTC) - timedelta(hours=8)}
    assert MESSAGE_FORMATS["hj212"].identity is not None
    assert MESSAGE_FORMATS["hj212"].identity(raw) == device


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)))
@example(b"##0000")
@example(b"##" * 50)
def test_no_bytes_make_the_reader_fall(raw: bytes) -> None:
    try:
        found = parsed(raw)
    except InputError:
        return
    assert found.rejected


@given(st.text(alphabet=st.sampled_from("w01-Rtd=Flag;,&N.0123456789 \x00é"), max_size=120))
def test_no_body_makes_the_reader_fall(content: str) -> None:
    parsed(wrapped(f"QN=1;CN=2011;MN=X;Flag=5;CP=&&DataTime=20250601080000;{content}&&"))
