"""The server of RTUs over loopback, with the store in memory: framing, confirmation after the commit, limits, and a store that is away."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from domain.errors import ConfigurationError
from domain.model import Datastream, Device, DeviceStatus, Station, StationKind
from domain.observation import QuarantineEntry
from ingest.formats.sl651_frame import confirmation, read_frame
from ingest.pipeline import Pipeline
from ingest.transports import rtu_sessions
from ingest.transports.rtu_sessions import Hj212Session, Sl651Session, message_of_source
from ingest.transports.tcp import TcpIngest
from ingest.transports.tcp_peers import TcpSettings
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.rtu import SL651_WELL, element, framed, keep_alive, packet, report, wrapped
from tests.waiting import wait_until

NOW = datetime(2025, 6, 1, 1, tzinfo=UTC)
MORNING = datetime(2025, 6, 1, tzinfo=UTC)
LOOPBACK = "127.0.0.1"
WELL_ANSWER = confirmation(read_frame(SL651_WELL))
Serve = Callable[..., "Server"]


class Server:
    def __init__(self, pipeline: Pipeline, **limits: Any) -> None:
        listen = {"sl651": (LOOPBACK, 0), "hj212": (LOOPBACK, 0)}
        self.ingest = TcpIngest(TcpSettings(listen, **limits), pipeline, lambda: NOW)
        self.metrics = self.ingest.metrics
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.ingest.run, args=(self.stop_event,), daemon=True)
        self.thread.start()

    def connect(self, protocol: str = "sl651") -> socket.socket:
        connection = socket.create_connection(self.ingest.addresses[protocol], timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self) -> None:
        self.stop_event.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


def read(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def is_silent(connection: socket.socket, seconds: float = 0.3) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b"?"
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(autouse=True)
def wells(registry: MemoryRegistry) -> None:
    for code in ("W1", "T1"):
        registry.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
    for station, name, unit in (
        ("W1", "depth_to_water", "m"),
        ("W1", "water_temperature", "Cel"),
        ("W1", "battery_voltage", "V"),
        ("W1", "abstraction_rate", "m3/h"),
        ("T1", "tail_water_temperature", "Cel"),
        ("T1", "electrical_conductivity", "uS/cm"),
    ):
        registry.add_datastream(Datastream(station, name, unit), actor="t")
    registry.devices["sl651", "3304020001"] = Device("sl651", "3304020001", "W1")
    registry.devices["hj212", "JX0000TAIL01"] = Device("hj212", "JX0000TAIL01", "T1")


@pytest.fixture
def serve(pipeline: Pipeline) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(**limits: Any) -> Server:
        servers.append(Server(pipeline, **limits))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def results(store: MemoryStore) -> list[float]:
    return sorted(float.fromhex(str(row[0])) for row in store.rows.values())


def refusals(store: MemoryStore) -> list[tuple[str, str | None, str | None]]:
    entries = cast("list[QuarantineEntry]", store.quarantine)
    return [(entry.rejected.code, entry.station, entry.device) for entry in entries]


# --- frames and answers --------------------------------------------------------------------------------------------------


def test_a_report_is_confirmed_when_it_is_stored(serve: Serve, store: MemoryStore) -> None:
    with serve().connect() as rtu:
        rtu.sendall(SL651_WELL)
        assert read(rtu, len(WELL_ANSWER)) == WELL_ANSWER
        assert results(store) == [5.23, 12.45, 18.2]
    (batch,) = store.batches
    assert (batch.source_kind, batch.source, batch.device, batch.format) == (
        "tcp",
        f"tcp://{LOOPBACK}/sl651",
        "sl651:3304020001",
        "sl651",
    )
    assert batch.raws[0].body == SL651_WELL


def test_frames_that_are_split_joined_and_between_noise(serve: Serve, store: MemoryStore) -> None:
    later = report(element("0E", "5.25", 3, 2), observed="2506010900", serial=2)
    stream = b"IMEI:860000\r\n" + SL651_WELL + b"\x00\x7e" + keep_alive() + later
    with serve().connect() as rtu:
        for at in range(0, len(stream), 7):
            rtu.sendall(stream[at : at + 7])
            time.sleep(0.002)  # so that the pieces travel apart
        answers = WELL_ANSWER + confirmation(read_frame(later))
        assert read(rtu, len(answers)) == answers
        assert is_silent(rtu)  # the keep-alive gets no answer
    assert results(store) == [5.23, 5.25, 12.45, 18.2]
    assert store.quarantine == []


def test_a_damaged_frame_is_kept_and_not_confirmed_and_the_next_one_is(serve: Serve, store: MemoryStore) -> None:
    server = serve()
    flipped = SL651_WELL[:30] + bytes([SL651_WELL[30] ^ 1]) + SL651_WELL[31:]
    with server.connect() as rtu:
        rtu.sendall(flipped + SL651_WELL[:20] + SL651_WELL)
        assert read(rtu, len(WELL_ANSWER)) == WELL_ANSWER
        assert is_silent(rtu)
    wait_until(lambda: len(store.quarantine) == 2)
    entries = cast("list[QuarantineEntry]", store.quarantine)
    assert sorted(entry.rejected.raw for entry in entries) == sorted([flipped, SL651_WELL[:20]])
    assert {entry.rejected.code for entry in entries} == {"crc"}
    assert server.metrics.frames_damaged == 2


def test_what_a_broken_connection_leaves_is_kept(serve: Serve, store: MemoryStore) -> None:
    with serve().connect() as rtu:
        rtu.sendall(SL651_WELL[:40])
    wait_until(lambda: store.quarantine)
    assert refusals(store) == [("crc", None, None)]


def test_flow_in_cubic_metres_a_second_is_stored_in_the_datastreams_unit(serve: Serve, store: MemoryStore) -> None:
    frame = report(element("27", "0.015", 5, 3))
    with serve().connect() as rtu:
        rtu.sendall(frame)
        read(rtu, len(WELL_ANSWER))
    assert results(store) == [pytest.approx(54.0, rel=1e-12)]


def test_a_message_in_packets_is_confirmed_with_its_last(serve: Serve, store: MemoryStore) -> None:
    body = (
        bytes.fromhex("0007250601080000F1F1330402000147F0F02506010800")
        + element("0E", "5.23", 3, 2)
        + element("03", "18.2", 2, 1)
    )
    first, second = framed(body[:25], packet=(1, 2), end=0x17), framed(body[25:], packet=(2, 2))
    with serve().connect() as rtu:
        rtu.sendall(first)
        assert is_silent(rtu, 0.2)
        rtu.sendall(second)
        answer = read(rtu, len(WELL_ANSWER))
        assert read_frame(answer).serial == b"\x00\x07"
        assert results(store) == [5.23, 18.2]
        rtu.sendall(first)
    wait_until(lambda: store.quarantine)
    assert refusals(store) == [("packet", "W1", "sl651:3304020001")]


def test_hj212_answers_data_and_notifications_where_the_flag_asks(serve: Serve, store: MemoryStore) -> None:
    group = ["w01010-Rtd=28.6,w01010-Flag=N"]
    head = "QN=20250601080000123;ST=91;CN={};PW=123456;MN=JX0000TAIL01;Flag=4;CP=&&&&"
    with serve().connect("hj212") as logger:
        logger.sendall(packet(group))
        answer = wrapped(head.format("9014"))
        assert read(logger, len(answer)) == answer
        logger.sendall(packet(group, time="20250601081000", flag=4) + packet([], command="9011", flag=5))
        assert is_silent(logger)
        logger.sendall(packet(["PolId=w01010"], command="1013", time=None))
        assert read(logger, len(answer)) == wrapped(head.format("9013"))
    assert results(store) == [28.6, 28.6]


def test_a_later_packet_without_time_is_stored_with_the_first(serve: Serve, store: MemoryStore) -> None:
    with serve().connect("hj212") as logger:
        logger.sendall(packet(["w01010-Rtd=28.6"], split=(2, 1), flag=7))
        logger.sendall(packet(["w01014-Rtd=1250"], split=(2, 2), flag=7, time=None))
        one = len(wrapped("QN=20250601080000123;ST=91;CN=9014;PW=123456;MN=JX0000TAIL01;Flag=4;CP=&&&&"))
        assert len(read(logger, 2 * one)) == 2 * one
    assert results(store) == [28.6, 1250.0]


# --- who sends -----------------------------------------------------------------------------------------------------------


def test_an_unknown_device_is_kept_with_its_identity_and_confirmed(serve: Serve, store: MemoryStore) -> None:
    stranger = report(element("0E", "5.23", 3, 2), station="9999999999")
    with serve().connect() as rtu:
        rtu.sendall(stranger)
        assert read(rtu, len(WELL_ANSWER)) == confirmation(read_frame(stranger))
    assert refusals(store) == [("unknown_device", None, "sl651:9999999999")]
    assert store.rows == {}


def test_a_rejected_device_is_neither_stored_nor_answered(serve: Serve, store: MemoryStore, registry: MemoryRegistry) -> None:
    registry.devices["sl651", "3304020001"] = Device("sl651", "3304020001", None, DeviceStatus.REJECTED)
    with serve().connect() as rtu:
        rtu.sendall(SL651_WELL)
        assert is_closed(rtu)
    assert store.batches == []


def test_a_wrong_password_is_kept_and_not_confirmed(serve: Serve, store: MemoryStore, registry: MemoryRegistry) -> None:
    registry.devices["sl651", "3304020001"] = Device("sl651", "3304020001", "W1", password="4321")
    with serve().connect() as rtu:
        rtu.sendall(SL651_WELL)
        assert is_silent(rtu)
        right = report(element("0E", "5.23", 3, 2), password="4321")
        rtu.sendall(right)
        assert read(rtu, len(WELL_ANSWER)) == confirmation(read_frame(right))
    assert refusals(store) == [("password", "W1", "sl651:3304020001")]
    assert results(store) == [5.23]


# --- the store is away ---------------------------------------------------------------------------------------------------


def test_nothing_is_confirmed_while_the_store_is_away_and_what_is_sent_again_is_stored_once(
    serve: Serve, store: MemoryStore
) -> None:
    store.is_out_of_reach = True
    server = serve()
    with server.connect() as first:
        first.sendall(SL651_WELL)
        wait_until(lambda: server.metrics.commits_retried > 0)
        assert is_silent(first, 0.1)
    with server.connect() as again:
        again.sendall(SL651_WELL)
        assert is_silent(again, 0.1)
        store.is_out_of_reach = False
        assert read(again, len(WELL_ANSWER)) == WELL_ANSWER
    wait_until(lambda: server.metrics.messages_committed == 2)
    assert results(store) == [5.23, 12.45, 18.2]
    assert store.revisions == []


def test_a_server_that_stops_confirms_nothing_that_it_has_not_stored(serve: Serve, store: MemoryStore) -> None:
    store.is_out_of_reach = True
    server = serve()
    with server.connect() as rtu:
        rtu.sendall(SL651_WELL)
        wait_until(lambda: server.metrics.commits_retried > 0)
        server.stop()
        assert is_closed(rtu)
    assert store.rows == {}


# --- limits --------------------------------------------------------------------------------------------------------------


def test_connections_are_limited_in_all_and_for_an_address(serve: Serve) -> None:
    for limits in ({"max_connections": 2}, {"max_connections_per_address": 2}):
        server = serve(**limits)
        with server.connect() as first, server.connect() as second:
            wait_until(lambda server=server: server.metrics.connections == 2)
            with server.connect() as third:
                assert is_closed(third)
            wait_until(lambda server=server: server.metrics.connections_refused == 1)
            first.close()
            wait_until(lambda server=server: server.metrics.connections == 1)
            with server.connect() as fourth:
                fourth.sendall(SL651_WELL)
                assert read(fourth, len(WELL_ANSWER)) == WELL_ANSWER
            assert is_silent(second, 0.05)


def test_an_idle_connection_and_one_that_never_sends_a_frame_are_closed(serve: Serve) -> None:
    server = serve(idle_s=0.4, first_frame_s=30.0)
    with server.connect() as rtu:
        rtu.sendall(SL651_WELL)
        assert read(rtu, len(WELL_ANSWER)) == WELL_ANSWER
        assert is_closed(rtu)
    strict = serve(idle_s=30.0, first_frame_s=0.4)
    with strict.connect() as rtu:
        for _ in range(3):
            rtu.sendall(b"hello")
        assert is_closed(rtu)
    assert (server.metrics.connections_idle, strict.metrics.connections_idle) == (1, 1)


def test_a_connection_of_damage_or_noise_alone_is_closed(serve: Serve, store: MemoryStore) -> None:
    server = serve(max_damaged=3, max_noise_bytes=1000)
    with server.connect() as rtu:
        rtu.sendall((SL651_WELL[:-1] + b"\x00") * 5)
        assert is_closed(rtu)
    with server.connect() as rtu:
        rtu.sendall(b"x" * 2000)
        assert is_closed(rtu)
    assert server.metrics.bytes_skipped >= 2000
    wait_until(lambda: {code for code, _, _ in refusals(store)} == {"crc"})


def test_an_address_that_sends_too_much_is_read_more_slowly_and_loses_nothing(serve: Serve, store: MemoryStore) -> None:
    start, at_once, more = datetime(2025, 5, 1), 60, 3  # noqa: DTZ001 - a wall time, as frames carry
    frames = [
        report(element("0E", "5.23", 3, 2), observed=f"{start + timedelta(hours=i):%y%m%d%H%M}", serial=i)
        for i in range(at_once + more)
    ]
    begun = time.monotonic()
    with serve(frames_per_minute=float(at_once)).connect() as rtu:
        for frame in frames:
            rtu.sendall(frame)
            assert read_frame(read(rtu, len(WELL_ANSWER))).serial == read_frame(frame).serial
    assert 1.0 < time.monotonic() - begun < 30.0  # one a second beyond those that may come at once
    assert len(store.rows) == len(frames)


def test_many_devices_at_once_are_each_answered(serve: Serve, store: MemoryStore, registry: MemoryRegistry) -> None:
    server = serve()
    connections = [server.connect() for _ in range(60)]
    for number, connection in enumerate(connections):
        connection.sendall(report(element("0E", "5.23", 3, 2), serial=number, observed=f"25060108{number:02d}"))
    for number, connection in enumerate(connections):
        assert read_frame(read(connection, len(WELL_ANSWER))).serial == number.to_bytes(2, "big")
        connection.close()
    assert len(store.rows) == 60
    assert len(store.batches) < 60


def test_an_address_that_cannot_be_listened_on_is_an_error_with_its_remedy(pipeline: Pipeline) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(ConfigurationError, match="another port"):
        TcpIngest(TcpSettings({"sl651": (LOOPBACK, taken.getsockname()[1])}), pipeline, lambda: NOW)
    with pytest.raises(ConfigurationError, match="sl651"):
        TcpIngest(TcpSettings({"modbus": (LOOPBACK, 0)}), pipeline, lambda: NOW)


# --- sessions ------------------------------------------------------------------------------------------------------------


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


def test_commits_that_fail_for_good_end_the_server_instead_of_leaving_every_frame_unconfirmed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(pipeline, "ingest_messages", fail)
    server = TcpIngest(TcpSettings({"sl651": (LOOPBACK, 0)}), pipeline, lambda: NOW)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.run(threading.Event())
        except RuntimeError as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with socket.create_connection(server.addresses["sl651"], timeout=5) as rtu:
        rtu.sendall(SL651_WELL)
        assert is_closed(rtu)
    thread.join(15)
    assert [str(failure) for failure in failures] == ["nobody thought of it"]


def test_a_device_that_closes_for_sending_gets_its_confirmation(serve: Serve, store: MemoryStore) -> None:
    server = serve()
    with server.connect() as rtu:
        rtu.sendall(SL651_WELL)
        rtu.shutdown(socket.SHUT_WR)
        assert read(rtu, len(WELL_ANSWER)) == WELL_ANSWER
        assert is_closed(rtu)
    wait_until(lambda: server.metrics.connections == 0)
    assert store.quarantine == []


def test_a_connection_that_was_closed_for_sending_is_not_kept_for_ever(serve: Serve, store: MemoryStore) -> None:
    server = serve(linger_s=0.3)
    store.is_out_of_reach = True
    with server.connect() as rtu:
        rtu.sendall(SL651_WELL)
        rtu.shutdown(socket.SHUT_WR)
        assert is_closed(rtu)
    wait_until(lambda: server.metrics.connections == 0)
    store.is_out_of_reach = False
    wait_until(lambda: store.rows)


def test_a_frame_that_never_ends_holds_its_connection_no_longer_than_silence(serve: Serve) -> None:
    server = serve(idle_s=0.6)
    with server.connect() as rtu:
        rtu.sendall(keep_alive())
        wait_until(lambda: server.metrics.connections == 1)
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in report(element("0E", "5.23", 3, 2)):
                rtu.sendall(bytes([byte]))
                if not is_silent(rtu, 0.1):
                    break
        assert 0.5 < time.monotonic() - begun < 2.5
    wait_until(lambda: server.metrics.connections == 0)


def test_a_process_that_may_open_no_more_files_rests_and_accepts_when_it_may(serve: Serve, store: MemoryStore) -> None:
    server = serve()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(server.connect())
        first.sendall(SL651_WELL)
        assert read(first, len(WELL_ANSWER)) == WELL_ANSWER
        second = opened.enter_context(socket.socket())
        second.settimeout(10)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (second.fileno() + 1, hard))
            second.connect(server.ingest.addresses["sl651"])
            begun = time.process_time()
            second.sendall(keep_alive())
            time.sleep(0.5)
            first.sendall(SL651_WELL)
            assert read(first, len(WELL_ANSWER)) == WELL_ANSWER
            assert time.process_time() - begun < 0.3
            assert server.metrics.connections == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: server.metrics.connections == 2)
        second.sendall(SL651_WELL)
        assert read(second, len(WELL_ANSWER)) == WELL_ANSWER
