"""Limits of the server of RTUs over loopback: connections, silence, noise, frames without end, and devices that close."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from datetime import datetime, timedelta

import pytest

from domain.errors import ConfigurationError
from ingest.formats.sl651_frame import read_frame
from ingest.pipeline import Pipeline
from ingest.transports.tcp import TcpIngest
from ingest.transports.tcp_peers import TcpSettings
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.rtu import SL651_WELL, element, keep_alive, report
from tests.ingest.rtu_server import LOOPBACK, NOW, WELL_ANSWER, Serve, is_closed, is_silent, read, refusals
from tests.waiting import wait_until


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
