"""SL 651: the standard's frames, real ones, and every trap of the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import FormatError, InputError
from ingest.formats import FORMATS, MESSAGE_FORMATS, ImportContext, MessageContext
from ingest.formats.crc import crc16_hj212, crc16_modbus
from ingest.formats.frames import Piece, cut
from ingest.formats.native_json import NO_END, Element, Elements
from ingest.formats.sl651_frame import FRAMING, confirmation, frame_fault, frame_length, read_frame
from tests.ingest import rtu
from tests.ingest.rtu import SL651_WELL, element, framed, keep_alive, report

DATA = Path(__file__).resolve().parents[1] / "data" / "sl651"
MORNING = datetime(2025, 6, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, 0, 5, tzinfo=UTC)
REAL = (
    "7E7E010012345678123430002B020003591011154947F1F1001234567848F0F0591011154920190000052619000005392300000127381211150320FA",
    "7E7E05001122334403E832002B020034170718110016F1F1001122334448F0F01707181100201900004026190000403923000104903812109903A421",
)
"""Published frames of two makers' RTUs with a right checksum, and below what the centre answered."""
REAL_ANSWERS = ("7E7E00123456780112343080080200035910111549471B75D4", "7E7E00112233440503E83280080200341707181100161BE5D4")


def parsed(raw: bytes, attributes: Mapping[str, Any] | None = None) -> Elements:
    return MESSAGE_FORMATS["sl651"].elements(raw, MessageContext("tcp", NOW, "W1", attributes or {}))


def values(found: Elements) -> dict[str, float]:
    return {item.key: item.result for item in found.values}


def at(item: Element) -> datetime:
    return datetime.fromtimestamp(item.time_us / 1e6, UTC)


def end(item: Element) -> datetime:
    return datetime.fromtimestamp(item.end_us / 1e6, UTC)


# --- frames ------------------------------------------------------------------------------------------------------------


def test_the_frame_of_the_well_decodes() -> None:
    found = parsed(SL651_WELL)
    assert values(found) == {"depth_to_water": 5.23, "water_temperature": 18.2, "battery_voltage": 12.45}
    assert {at(item) for item in found.values} == {MORNING}
    assert {item.end_us for item in found.values} == {NO_END}
    assert found.units == {"depth_to_water": "m", "water_temperature": "Cel", "battery_voltage": "V"}
    assert found.rejected == []


@pytest.mark.parametrize(("frame", "answer"), list(zip(REAL, REAL_ANSWERS, strict=True)))
def test_real_frames_decode_and_get_the_answer_that_their_centre_gave(frame: str, answer: str) -> None:
    raw = bytes.fromhex(frame)
    read = read_frame(raw)
    assert frame_fault(raw) is None
    assert confirmation(read) == bytes.fromhex(answer)
    down = read_frame(bytes.fromhex(answer))
    assert (down.station, down.centre, down.password) == (read.station, read.centre, read.password)
    assert not down.is_from_station
    assert values(parsed(raw)) in (
        {"water_level": 0.127, "battery_voltage": 11.15},
        {"water_level": 10.49, "battery_voltage": 10.99},
    )


def test_the_shared_vectors_decode_to_their_values_and_wrong_checksums_are_refused(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "loggers" / "sl651" / "frames.json").read_text(encoding="utf-8"))
    assert vectors
    for vector in vectors:
        raw = bytes.fromhex(vector["frame_hex"])
        header = read_frame(raw)
        assert frame_length(raw, 0) == len(raw)
        assert len(header.body) == vector["length"]
        assert (header.centre, header.station, header.password, f"{header.function:02X}") == (
            vector["centre"],
            vector["station"],
            vector["password"],
            vector["function"],
        )
        assert f"{crc16_modbus(raw[:-2]):04X}" == vector["crc_calc"]
        assert (frame_fault(raw) is None) is vector["crc_ok"]
        found = parsed(raw)
        assert [item.code for item in found.rejected if item.code == "crc"] == ([] if vector["crc_ok"] else ["crc"])
        if not vector["crc_ok"]:
            assert found.values == []
            assert found.rejected[0].raw == raw


def test_the_two_checksums_are_unlike() -> None:
    assert crc16_modbus(SL651_WELL) == rtu.modbus(SL651_WELL) != crc16_hj212(SL651_WELL) == rtu.hj212_crc(SL651_WELL)


@pytest.mark.parametrize("position", range(len(SL651_WELL)))
def test_a_flipped_bit_is_always_refused_and_its_bytes_are_kept(position: int) -> None:
    for bit in range(8):
        raw = bytearray(SL651_WELL)
        raw[position] ^= 1 << bit
        try:
            found = parsed(bytes(raw))
        except FormatError:
            assert position < 14  # the mark or the header no longer begins a frame
            continue
        assert found.values == []
        assert [item.code for item in found.rejected] == ["crc"]
        assert found.rejected[0].raw in bytes(raw)


def test_the_low_byte_first_is_no_checksum() -> None:
    found = parsed(SL651_WELL[:-2] + SL651_WELL[:-3:-1])
    assert [item.code for item in found.rejected] == ["crc"]


def test_hexadecimal_text_is_read_as_the_bytes_that_it_means() -> None:
    assert values(parsed(SL651_WELL.hex(" ").encode() + b"\r\n")) == values(parsed(SL651_WELL))


def test_what_is_no_frame_at_all_is_refused_as_a_whole() -> None:
    for raw in (b"", b"hello", b"7E7Exyz", b"\x7e"):
        with pytest.raises(FormatError):
            parsed(raw)


def test_a_file_of_several_stations_goes_to_each_of_them() -> None:
    other = report(element("0E", "9.99", 3, 2), station="3304020002")
    payload = FORMATS["sl651"].parse(SL651_WELL + b"noise" + other + SL651_WELL[:-1] + b"\0", None, ImportContext("x.bin"))
    assert {item.station for item in payload.streams} == {"3304020001", "3304020002"}
    assert len(payload.columns) == 4
    assert [item.code for item in payload.rejected] == ["crc"]
    named = FORMATS["sl651"].parse((DATA / "well.hex").read_bytes(), None, ImportContext("well.hex", station="W1"))
    assert {item.station for item in named.streams} == {"W1"}
    assert len(named.columns) == 6
    assert named.columns.quality.tolist().count(9) == 1


# --- values ------------------------------------------------------------------------------------------------------------


def test_missing_and_negative_values() -> None:
    found = parsed(report(element("0E", None, 3, 2), element("03", "-0.5", 2, 1), element("02", "-12.5", 3, 1)))
    missing, *below = found.values
    assert math.isnan(missing.result)
    assert missing.quality == 9
    assert [item.result for item in below] == [-0.5, -12.5]


def test_flow_is_in_cubic_metres_a_second_and_goes_where_the_class_of_the_station_says() -> None:
    flow = element("27", "0.015", 5, 3)
    well, river = parsed(report(flow)), parsed(report(flow, kind="48"))
    assert (values(well), well.units) == ({"abstraction_rate": 0.015}, {"abstraction_rate": "m3/s"})
    assert values(river) == {"discharge": 0.015}
    assert values(parsed(report(element("39", "1.234", 4, 3)))) == {"head": 1.234}


def test_hourly_volumes_and_rain_have_the_extent_that_ends_at_the_observation() -> None:
    found = parsed(report(element("68", "12.50", 5, 2), element("1A", "3.5", 3, 1)))
    assert values(found) == {"abstraction_volume": 12.5, "rainfall:1h": 3.5}
    assert {(at(item), end(item)) for item in found.values} == {(MORNING - timedelta(hours=1), MORNING)}


def test_unknown_elements_are_refused_by_element_and_the_others_stored() -> None:
    custom, reserved = element("FF38", "1.0", 2, 1), element("7A", "55", 1, 0)
    found = parsed(report(custom, element("0E", "5.23", 3, 2), reserved, element("33", "3", 1, 0)))
    assert values(found) == {"depth_to_water": 5.23}
    assert [(item.code, item.raw) for item in found.rejected] == [
        ("element", custom),
        ("element", reserved),
        ("element", element("33", "3", 1, 0)),
    ]
    assert "风向" in found.rejected[2].reason


def test_a_device_names_its_own_elements_ignores_others_and_has_its_own_zone() -> None:
    attributes = {
        "elements": {"ff38": {"property": "water_pressure", "unit": "kPa"}, "27": {"property": "injection_rate"}},
        "ignored": ["7a"],
        "zone": "+00:00",
    }
    frame = report(element("FF38", "1.0", 2, 1), element("7A", "55", 1, 0), element("27", "0.001", 4, 3))
    found = parsed(frame, attributes)
    assert values(found) == {"water_pressure": 1.0, "injection_rate": 0.001}
    assert found.rejected == []
    assert at(found.values[0]) == MORNING + timedelta(hours=8)
    for wrong in ({"elements": ["27"]}, {"zone": "Beijing"}):
        with pytest.raises(InputError):
            parsed(frame, wrong)


def test_state_bits_stay_in_the_stored_frame_and_are_no_observation() -> None:
    found = parsed(report(bytes.fromhex("452000000F1E"), element("0E", "5.23", 3, 2)))
    assert values(found) == {"depth_to_water": 5.23}
    assert found.rejected == []


def test_a_value_that_is_no_decimal_is_refused_alone() -> None:
    broken = bytes.fromhex("03110B82")
    found = parsed(report(broken, element("0E", "5.23", 3, 2)))
    assert values(found) == {"depth_to_water": 5.23}
    assert [(item.code, item.raw) for item in found.rejected] == [("value", broken)]


def test_an_element_longer_than_the_frame_ends_the_reading_and_is_kept() -> None:
    cut_off = bytes.fromhex("0E1A0005")
    found = parsed(report(element("03", "18.2", 2, 1), cut_off))
    assert values(found) == {"water_temperature": 18.2}
    assert [(item.code, item.raw) for item in found.rejected] == [("value", cut_off)]


# --- series and time ---------------------------------------------------------------------------------------------------


def test_the_twelve_values_of_an_hour_end_at_the_time_of_observation() -> None:
    levels = bytes.fromhex("F5C0" + "".join(f"{100 + i:04X}" for i in range(11)) + "FFFF")
    rain = bytes.fromhex("F460" + "00" * 11 + "05")
    found = parsed(report(levels, rain, function=0x34))
    stage = [item for item in found.values if item.key == "stage"]
    assert [at(item) for item in stage] == [MORNING - timedelta(minutes=5 * i) for i in range(11, -1, -1)]
    assert [item.result for item in stage[:11]] == [round(1 + i / 100, 2) for i in range(11)]
    assert stage[11].quality == 9
    last = found.values[-1]
    assert (last.key, last.result, at(last), end(last)) == ("rainfall:5min", 0.5, MORNING - timedelta(minutes=5), MORNING)


def test_values_at_a_step_begin_at_the_time_of_observation() -> None:
    head = bytes.fromhex("0418000005")
    stepped = head + element("0E", "5.20", 3, 2) + bytes.fromhex("000521000522AAAAAA")
    found = parsed(report(stepped, function=0x31))
    assert [at(item) for item in found.values] == [MORNING + timedelta(minutes=5 * i) for i in range(4)]
    assert [item.result for item in found.values[:3]] == [5.20, 5.21, 5.22]
    assert found.values[3].quality == 9


def test_midnight_may_be_written_as_hour_24_and_an_impossible_time_is_refused() -> None:
    late = parsed(report(element("0E", "5.23", 3, 2), observed="2502282400"))
    assert at(late.values[0]) == datetime(2025, 2, 28, 16, tzinfo=UTC)
    for wrong in ("2502300800", "2513010800", "25060108AA"):
        found = parsed(report(element("0E", "5.23", 3, 2), observed=wrong))
        assert found.values == []
        assert [item.code for item in found.rejected] == ["time"]


def test_elements_before_any_time_are_refused() -> None:
    found = parsed(framed(bytes.fromhex("0001250601080000F1F1330402000147") + element("0E", "5.23", 3, 2)))
    assert [item.code for item in found.rejected] == ["time"]


def test_several_times_of_observation_in_one_report() -> None:
    second = bytes.fromhex("F0F02506010900")
    found = parsed(report(element("0E", "5.23", 3, 2), second, element("0E", "5.25", 3, 2)))
    assert [(at(item), item.result) for item in found.values] == [(MORNING, 5.23), (MORNING + timedelta(hours=1), 5.25)]


# --- kinds of frames ---------------------------------------------------------------------------------------------------


def test_a_keep_alive_is_a_sign_of_life_and_other_functions_are_kept() -> None:
    assert parsed(keep_alive()).is_sign_of_life
    assert parsed(keep_alive()).rejected == []
    assert [item.code for item in parsed(framed(bytes(8), function=0x40)).rejected] == ["function"]
    picture = parsed(report(bytes.fromhex("F3F3FFD8FFE0"), function=0x36))
    assert [item.code for item in picture.rejected] == ["element"]


def test_a_frame_of_the_centre_and_a_report_of_another_station_are_refused() -> None:
    assert [item.code for item in parsed(bytes.fromhex(REAL_ANSWERS[0])).rejected] == ["direction"]
    body = bytes.fromhex("0001250601080000F1F1330402999947F0F02506010800") + element("0E", "5.23", 3, 2)
    assert [item.code for item in parsed(framed(body)).rejected] == ["station"]


def test_a_message_in_packets_is_joined_in_any_order_and_incomplete_it_is_refused() -> None:
    body = (
        bytes.fromhex("0001250601080000F1F1330402000147F0F02506010800")
        + element("0E", "5.23", 3, 2)
        + element("03", "18.2", 2, 1)
    )
    packets = [
        framed(part, packet=(number, 3), end=0x03 if number == 3 else 0x17)
        for number, part in enumerate((body[:20], body[20:30], body[30:]), start=1)
    ]
    for order in ((0, 1, 2), (2, 0, 1)):
        found = parsed(b"".join(packets[i] for i in order))
        assert values(found) == {"depth_to_water": 5.23, "water_temperature": 18.2}
        assert found.rejected == []
    found = parsed(packets[0] + packets[2])
    assert found.values == []
    assert [item.code for item in found.rejected] == ["packet", "packet"]


# --- properties and fuzz -------------------------------------------------------------------------------------------------

ELEMENTS = st.one_of(
    st.tuples(st.just("0E"), st.just(3), st.just(2)),
    st.tuples(st.just("03"), st.just(3), st.just(1)),
    st.tuples(st.just("38"), st.just(2), st.just(2)),
    st.tuples(st.just("39"), st.just(5), st.just(3)),
    st.tuples(st.just("48"), st.just(3), st.just(0)),
)


@given(
    st.lists(st.tuples(ELEMENTS, st.integers(-9999, 9999)), min_size=1, max_size=8, unique_by=lambda item: item[0][0]),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - a wall time, as frames carry
    st.from_regex(r"[0-9]{10}", fullmatch=True),
)
def test_what_an_rtu_encodes_is_what_is_read(
    wanted: list[tuple[tuple[str, int, int], int]], moment: datetime, station: str
) -> None:
    sent = []
    numbers = []
    for (code, length, decimals), number in wanted:
        own = abs(number) if length == 2 else number  # no room for a sign
        numbers.append(float(own / 10**decimals))
        sent.append(element(code, Decimal(own).scaleb(-decimals), length, decimals))
    frame = report(*sent, observed=f"{moment:%y%m%d%H%M}", station=station)
    found = parsed(frame)
    assert [item.result for item in found.values] == numbers
    assert found.rejected == []
    shifted = moment.replace(second=0, microsecond=0, tzinfo=UTC) - timedelta(hours=8)
    assert {at(item) for item in found.values} == {shifted}
    assert MESSAGE_FORMATS["sl651"].identity is not None
    assert MESSAGE_FORMATS["sl651"].identity(frame) == station


@given(st.binary(max_size=300))
@example(b"\x7e\x7e" * 40)
@example(SL651_WELL[:30] + SL651_WELL)
def test_no_bytes_make_the_reader_fall(raw: bytes) -> None:
    try:
        found = parsed(raw)
    except InputError:
        return
    assert found.values or found.rejected or found.is_sign_of_life


@given(st.binary(max_size=120))
def test_no_body_makes_the_reader_fall(body: bytes) -> None:
    for function in (0x31, 0x32, 0x34):
        parsed(framed(bytes.fromhex("0001250601080000") + body, function=function))


PARTS = st.one_of(st.just(SL651_WELL), st.just(keep_alive()), st.just(SL651_WELL[:25]), st.binary(max_size=40))


@given(st.lists(PARTS, max_size=6), st.lists(st.integers(0, 400), max_size=6))
@example([SL651_WELL, SL651_WELL[:25], SL651_WELL], [106])  # the length of the torn frame ends within the one behind it
@example([SL651_WELL[:25], SL651_WELL[:28], SL651_WELL], [54])  # ... and after the first byte of a mark
@example([b"~", SL651_WELL], [1])
def test_every_byte_of_a_stream_is_accounted_for_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    whole = list(cut(stream, FRAMING, is_final=True))
    assert b"".join(piece for _, piece in whole) == stream
    rest, seen = b"", []
    for begin, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        rest += stream[begin:stop]
        pieces = list(cut(rest, FRAMING))
        assert b"".join(piece for _, piece in pieces) == rest
        rest = b"".join(piece for kind, piece in pieces if kind is Piece.REST)
        seen += [piece for kind, piece in pieces if kind is Piece.FRAME]
    seen += [piece for kind, piece in cut(rest, FRAMING, is_final=True) if kind is Piece.FRAME]
    assert seen == [piece for kind, piece in whole if kind is Piece.FRAME]


def test_packets_of_two_reports_in_one_file_are_never_joined() -> None:
    first, second = (
        [
            framed(part, packet=(number, 3), end=0x03 if number == 3 else 0x17)
            for number, part in enumerate(
                (
                    bytes.fromhex(f"000{serial}250601080{serial}00F1F1330402000147F0F0250601080{serial}"),
                    element("0E", depth, 3, 2),
                    element("03", temperature, 2, 1),
                ),
                start=1,
            )
        ]
        for serial, depth, temperature in ((1, "5.23", "18.2"), (2, "6.41", "19.7"))
    )
    for lost in (1, 2):
        kept = [packet for number, packet in enumerate(first) if number != lost]
        found = parsed(b"".join((*kept, *second)))
        assert values(found) == {"depth_to_water": 6.41, "water_temperature": 19.7}
        assert [item.code for item in found.rejected] == ["packet", "packet"]
