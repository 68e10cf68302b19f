"""Messages in packets: put together where they are of one report, kept as they are otherwise, and bounded in size."""

from __future__ import annotations

import pytest

from ingest.formats.sl651_frame import read_frame
from ingest.transports import rtu_sessions
from ingest.transports.rtu_sessions import Hj212Session, Sl651Session, message_of_source
from tests.ingest.memory import MemoryStore
from tests.ingest.rtu import element, framed
from tests.ingest.rtu_server import MORNING, WELL_ANSWER, Serve, is_silent, read, refusals, results
from tests.waiting import wait_until


def test_a_stored_payload_becomes_the_message_that_it_was() -> None:
    message = message_of_source("tcp://10.0.0.7/hj212", b"##", MORNING)
    assert message is not None
    assert (message.station, message.format, message.received_at) == ("", "hj212", MORNING)
    assert message_of_source("gw/v1/stations/W1/hj212", b"", MORNING) is None
    assert message_of_source("tcp://10.0.0.7/modbus", b"", MORNING) is None


def test_packets_that_make_no_message_are_handed_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtu_sessions, "MOST_HELD_BYTES", 20_000)
    session = Sl651Session()
    wrong = framed(b"\0" * 10, packet=(5, 2), end=0x17)
    assert [item.payload for item in session.take(wrong)] == [wrong]
    assert [item.answer for item in session.take(wrong)] == [None]
    big = [framed(bytes(4000), packet=(number, 4000), end=0x17) for number in range(1, 8)]
    handed = [item for frame in big for item in session.take(frame)]
    assert len(handed) == 1
    assert b"".join(item.payload for item in (*handed, *session.end())) == b"".join(big)
    assert list(Hj212Session().end()) == []


def report_in_packets(serial: int, minute: int, depth: str, temperature: str) -> list[bytes]:
    """Return a timed report in three packets, the second of which holds the level and the third the temperature."""
    begin = bytes.fromhex(f"{serial:04X}250601080000F1F1330402000147F0F025060108{minute:02d}")
    parts = (begin, element("0E", depth, 3, 2), element("03", temperature, 2, 1))
    return [framed(part, packet=(number, 3), end=0x03 if number == 3 else 0x17) for number, part in enumerate(parts, start=1)]


@pytest.mark.parametrize("lost", [0, 1, 2], ids=["first", "second", "third"])
def test_packets_of_two_reports_are_never_joined(serve: Serve, store: MemoryStore, lost: int) -> None:
    old, new = report_in_packets(7, 0, "5.23", "18.2"), report_in_packets(8, 5, "6.41", "19.7")
    arrived = [packet for number, packet in enumerate(old) if number != lost]
    with serve().connect() as rtu:
        rtu.sendall(b"".join((*arrived, *new)))
        assert read_frame(read(rtu, len(WELL_ANSWER))).serial == b"\x00\x08"
    wait_until(lambda: store.quarantine)
    assert results(store) == [6.41, 19.7]
    assert {str(time)[:16] for _, time in store.rows} == {"2025-06-01T00:05"}
    assert refusals(store) == [("packet", "W1", "sl651:3304020001")] * 2


@pytest.mark.parametrize("lost", [0, 1, 2], ids=["first", "second", "third"])
def test_a_report_of_which_a_packet_was_lost_is_whole_when_all_of_it_is_sent_again(
    serve: Serve, store: MemoryStore, lost: int
) -> None:
    packets = report_in_packets(7, 0, "5.23", "18.2")
    with serve().connect() as rtu:
        rtu.sendall(b"".join(packet for number, packet in enumerate(packets) if number != lost))
        assert is_silent(rtu, 0.2)
        rtu.sendall(b"".join(packets))
        assert read_frame(read(rtu, len(WELL_ANSWER))).serial == b"\x00\x07"
    assert results(store) == [5.23, 18.2]
    assert {refusal[0] for refusal in refusals(store)} <= {"packet"}


def test_a_connection_never_holds_more_than_its_share_of_packets_however_many_messages_they_are_of() -> None:
    session = Sl651Session()
    frames = [
        framed(bytes(4000), packet=(1, count), function=function, end=0x17)
        for count in range(2, 200)
        for function in (0x32, 0x34)
    ]
    handed = [item for frame in frames for item in session.take(frame)]
    assert sum(len(item.payload) for item in handed) >= sum(map(len, frames)) - rtu_sessions.MOST_HELD_BYTES
    assert sorted(item.payload for item in (*handed, *session.end())) == sorted(frames)
    assert session.end() == []


def test_a_packet_of_no_message_leaves_the_others_of_its_connection_alone() -> None:
    session = Sl651Session()
    packets = report_in_packets(7, 0, "5.23", "18.2")
    assert [item for packet in packets[:2] for item in session.take(packet)] == []
    wrong = framed(b"\0" * 10, packet=(5, 2), end=0x17)
    assert [item.payload for item in session.take(wrong)] == [wrong]
    assert [item.payload for item in session.take(packets[2])] == [b"".join(packets)]
