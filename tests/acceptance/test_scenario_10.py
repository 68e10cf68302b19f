"""Scenario 10: the official HJ 212 sample is accepted, with the checksum of Modbus it is refused; a value marked D is stored and left out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from domain.model import Device
from tests.acceptance.rtu_world import RtuWorld, is_silent, read, running_world
from tests.conftest import BrokerLogin
from tests.ingest.rtu import packet, wrapped
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
OFFICIAL = b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80\r\n"
MODBUS = OFFICIAL.replace(b"1C80", b"0759")
ANSWER = wrapped("QN=20250601080000123;ST=91;CN=9014;PW=123456;MN=JX0000TAIL01;Flag=4;CP=&&&&")


@pytest.fixture(scope="module")
def world(database_url: str, broker: BrokerLogin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtuWorld]:
    with running_world(database_url, broker, tmp_path_factory.mktemp("home")) as running:
        running.add_well("JX-T01", ("tail_water_temperature", "Cel"), ("electrical_conductivity", "uS/cm"))
        running.container.devices.store(Device("hj212", "JX0000TAIL01", "JX-T01"), actor="t")
        yield running


def send(world: RtuWorld, *packets: bytes) -> socket.socket:
    connection = world.connect("hj212")
    for item in packets:
        connection.sendall(item)
    return connection


def entries(world: RtuWorld) -> dict[bytes, str]:
    found = {}
    for row in world.container.observations.quarantined(limit=1000):
        payload = world.container.observations.raw_payload(row.raw_payload_id or 0)
        assert payload is not None
        found[bytes(payload.body or b"")] = row.code
    return found


def test_the_official_sample_is_a_sound_packet_and_its_modbus_variant_is_not(world: RtuWorld) -> None:
    with send(world, OFFICIAL, MODBUS) as logger:
        wait_until(lambda: {OFFICIAL, MODBUS} <= entries(world).keys())
        assert is_silent(logger)  # a command of the centre, and a damaged packet
    found = entries(world)
    assert found[OFFICIAL] == "unknown_device"  # read to its MN, which no station has
    assert found[MODBUS] == "crc"
    assert [item["device"] for item in world.get("/devices/unknown")["items"]] == ["hj212:010000A8900016F000169DC0"]


def test_a_value_marked_d_is_stored_and_left_out_of_what_is_used(world: RtuWorld) -> None:
    sound = [packet([f"w01010-Rtd={20 + minute},w01010-Flag=N"], time=f"2025060108{minute:02d}00") for minute in (0, 10, 20)]
    broken = packet(["w01010-Rtd=99.9,w01010-Flag=D", "w01014-Rtd=1250,w01014-Flag=N"], time="20250601083000")
    with send(world, *sound, broken) as logger:
        assert read(logger, 4 * len(ANSWER)) == ANSWER * 4
    items = world.observations("JX-T01:tail_water_temperature")
    assert [(item["result"], item["quality"]) for item in items] == [(20.0, 1), (30.0, 1), (40.0, 1), (99.9, 4)]
    assert items[-1]["quality_reasons"] == ["source_flag"]
    assert [item["result"] for item in world.observations("JX-T01:electrical_conductivity")] == [1250.0]
    while world.container.rollups.refresh(1000):
        pass
    stream = world.container.registers.datastream("JX-T01:tail_water_temperature")
    assert stream is not None
    hours = world.container.observations.buckets(
        stream.datastream_id or 0, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 1, 1, tzinfo=UTC), "1h"
    )
    assert [(hour.n, hour.n_good, hour.mean, hour.max) for hour in hours] == [(4, 3, 30.0, 40.0)]


def test_the_same_packet_again_by_tcp_and_by_mqtt_is_stored_once(world: RtuWorld) -> None:
    world.broker.stack.add_device("JX-T01", "JX-T01" * 2)
    again = packet(["w01010-Rtd=21.5,w01010-Flag=N"], time="20250601090000")
    with send(world, again, again) as logger:
        assert read(logger, 2 * len(ANSWER)) == ANSWER * 2
    before = len(world.container.observations.batches(limit=1000))
    world.publish("JX-T01", "gw/v1/stations/JX-T01/hj212", again)
    wait_until(lambda: len(world.container.observations.batches(limit=1000)) > before)
    newest = world.container.observations.batches(limit=1)[0]
    assert (newest.source_kind, newest.accepted, newest.duplicate, newest.corrected) == ("mqtt", 0, 1, 0)
    results = [item["result"] for item in world.observations("JX-T01:tail_water_temperature")]
    assert results.count(21.5) == 1
