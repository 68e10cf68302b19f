"""Scenario 9: the SL 651 frame of a well is 5.23 m, 18.2 degrees and 12.45 V; a flipped byte is refused and kept; m3/s is shown as m3/h."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from domain.model import Device
from ingest.formats.sl651_frame import confirmation, read_frame
from tests.acceptance.rtu_world import RtuWorld, is_silent, read, running_world
from tests.conftest import BrokerLogin
from tests.ingest.rtu import SL651_WELL, element, report
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
ANSWER = confirmation(read_frame(SL651_WELL))


@pytest.fixture(scope="module")
def world(database_url: str, broker: BrokerLogin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtuWorld]:
    with running_world(database_url, broker, tmp_path_factory.mktemp("home")) as running:
        streams = (("depth_to_water", "m"), ("water_temperature", "Cel"), ("battery_voltage", "V"), ("abstraction_rate", "m3/h"))
        running.add_well("JX-W01", *streams)
        running.container.devices.store(Device("sl651", "3304020001", "JX-W01"), actor="t")
        yield running


def test_the_frame_becomes_three_observations_and_is_then_confirmed(world: RtuWorld) -> None:
    with world.connect("sl651") as rtu:
        rtu.sendall(SL651_WELL[:9])
        rtu.sendall(SL651_WELL[9:])
        assert read(rtu, len(ANSWER)) == ANSWER
    for name, result in (("depth_to_water", 5.23), ("water_temperature", 18.2), ("battery_voltage", 12.45)):
        (item,) = world.observations(f"JX-W01:{name}")
        assert (item["result"], item["quality"]) == (result, 1)
        assert datetime.fromisoformat(item["phenomenon_time"]) == datetime(2025, 6, 1, tzinfo=UTC)


def test_a_flipped_byte_is_refused_its_bytes_are_kept_and_nothing_is_confirmed(world: RtuWorld) -> None:
    before = len(world.quarantine())
    flipped = SL651_WELL[:34] + bytes([SL651_WELL[34] ^ 0x10]) + SL651_WELL[35:]
    with world.connect("sl651") as rtu:
        rtu.sendall(flipped)
        assert is_silent(rtu)
    wait_until(lambda: len(world.quarantine()) == before + 1)
    entry = world.container.observations.quarantined(limit=1000)[-1]
    assert (entry.code, bytes(entry.raw), entry.source_kind) == ("crc", flipped, "tcp")
    assert "CRC" in world.quarantine()[-1]["reason"]
    assert len(world.observations("JX-W01:depth_to_water")) == 1


def test_flow_in_cubic_metres_a_second_is_shown_by_the_hour(world: RtuWorld) -> None:
    with world.connect("sl651") as rtu:
        rtu.sendall(report(element("27", "0.015", 5, 3), observed="2506010900"))
        assert len(read(rtu, len(ANSWER))) == len(ANSWER)
    (item,) = world.observations("JX-W01:abstraction_rate")
    assert item["result"] == pytest.approx(0.015 * 3600, rel=1e-12)
    (shown,) = world.observations("JX-W01:abstraction_rate", unit="m3/s")
    assert shown["result"] == pytest.approx(0.015, rel=1e-12)


def test_the_same_frame_over_mqtt_is_the_same_observation_and_a_device_writes_its_own_station_only(world: RtuWorld) -> None:
    world.add_well("JX-W02", ("depth_to_water", "m"))
    for code in ("JX-W01", "JX-W02"):
        world.broker.stack.add_device(code, code * 2)
    own = report(element("0E", "6.00", 3, 2), station="3304020002", observed="2506011000")
    foreign = report(element("0E", "9.99", 3, 2), observed="2506011100")  # of the device that is registered at JX-W01
    world.publish("JX-W02", "gw/v1/stations/JX-W01/sl651", foreign)  # refused by the broker
    world.publish("JX-W02", "gw/v1/stations/JX-W02/sl651", own, foreign)
    world.publish("JX-W01", "gw/v1/stations/JX-W01/sl651", SL651_WELL.hex().encode())
    wait_until(lambda: world.observations("JX-W02:depth_to_water"))
    wait_until(lambda: [entry for entry in world.quarantine() if "registered at station JX-W01" in entry["reason"]])
    assert [item["result"] for item in world.observations("JX-W02:depth_to_water")] == [6.0]
    assert [item["result"] for item in world.observations("JX-W01:depth_to_water")] == [5.23]


def test_while_the_database_is_away_nothing_is_confirmed_and_what_comes_again_is_stored_once(world: RtuWorld) -> None:
    frame = report(element("0E", "5.31", 3, 2), observed="2506020800", serial=9)
    answer = confirmation(read_frame(frame))
    with world.connect("sl651") as rtu:
        with world.database_away():
            rtu.sendall(frame)
            assert is_silent(rtu, 1.5)
        rtu.sendall(frame)  # the device's own repetition
        assert read(rtu, 2 * len(answer)) == answer * 2
    items = [item for item in world.observations("JX-W01:depth_to_water") if item["phenomenon_time"].startswith("2025-06-02")]
    assert [item["result"] for item in items] == [5.31]


def test_an_unknown_rtu_waits_until_it_is_admitted_and_then_its_frames_count_from_when_they_came(world: RtuWorld) -> None:
    frames = [
        report(element("0E", f"7.{hour}0", 3, 2), station="3304029999", observed=f"250601{hour:02d}00", serial=hour)
        for hour in range(1, 4)
    ]
    with world.connect("sl651") as rtu:
        for frame in frames:
            rtu.sendall(frame)
        assert len(read(rtu, 3 * len(ANSWER))) == 3 * len(ANSWER)
    (unknown,) = world.get("/devices/unknown")["items"]
    assert (unknown["device"], unknown["frames"], unknown["transport"]) == ("sl651:3304029999", 3, "tcp")
    observations = world.container.observations
    waiting = [observations.raw_payload(row.raw_payload_id or 0) for row in world.container.devices.waiting("sl651:3304029999")]
    received = {bytes(payload.body or b""): payload.received_at for payload in waiting if payload is not None}

    done = world.post("/devices/admissions", {"device": "sl651:3304029999", "station": "JX-W99", "create": {"name_zh": "新井"}})
    assert (done["frames"], done["remaining"], done["refused"]) == (3, 0, [])
    assert world.get("/devices/unknown")["items"] == []
    items = world.observations("JX-W99:depth_to_water")
    assert [item["result"] for item in items] == [7.1, 7.2, 7.3]
    stream = world.container.registers.datastream("JX-W99:depth_to_water")
    assert stream is not None
    rows = observations.page(stream.datastream_id or 0, None, None)
    assert [row.received_at for row in rows] == [received[frame] for frame in frames]
    with world.connect("sl651") as rtu:
        rtu.sendall(report(element("0E", "7.40", 3, 2), station="3304029999", observed="2506010400", serial=4))
        assert len(read(rtu, len(ANSWER))) == len(ANSWER)
    wait_until(lambda: len(world.observations("JX-W99:depth_to_water")) == 4 or world.get("/devices/unknown")["items"])
