"""The server of RTUs over loopback, with the store in memory: frames, answers after the commit, who sends, and a store that is away."""

from __future__ import annotations

import socket
import threading
import time
from typing import cast

import pytest

from domain.model import Device, DeviceStatus
from domain.observation import QuarantineEntry
from ingest.formats.sl651_frame import confirmation, read_frame
from ingest.pipeline import Pipeline
from ingest.transports.tcp import TcpIngest
from ingest.transports.tcp_peers import TcpSettings
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.rtu import SL651_WELL, element, framed, keep_alive, packet, report, wrapped
from tests.ingest.rtu_server import LOOPBACK, NOW, WELL_ANSWER, Serve, is_closed, is_silent, read, refusals, results
from tests.waiting import wait_until

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
