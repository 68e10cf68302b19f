"""Devices: stored, changed, forgotten; unknown ones are read from the quarantine, where their frames wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from domain.errors import ConflictError, NotFoundError
from domain.model import Device, DeviceStatus, Station, StationKind
from domain.observation import Batch, QuarantineEntry, RawPayload, Rejected, columns
from storage.database import Database
from storage.devices import DeviceRepository
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository

pytestmark = pytest.mark.stack
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RTU = Device("sl651", "3304020001", "W1", password="1234", attributes={"zone": "+08:00"})


@pytest.fixture
def database(own_database_url: str) -> Iterator[Database]:
    with Database(own_database_url) as opened:
        RegisterRepository(opened).add_station(Station("W1", StationKind.OBSERVATION_WELL, "一号井", "Well 1"), actor="t")
        yield opened


def waiting_frame(device: str, body: bytes, at: datetime, code: str = "unknown_device") -> Batch:
    raw = RawPayload("tcp://10.0.0.9/sl651", sha256(body).hexdigest(), len(body), at, body)
    entry = QuarantineEntry(Rejected(0, code, "nobody knows it", body), 0, None, device)
    return Batch("tcp", raw.source, columns([], [], []), raws=(raw,), quarantine=(entry,), received_at=at)


def test_a_device_is_stored_changed_and_forgotten(database: Database) -> None:
    devices, registers = DeviceRepository(database), RegisterRepository(database)
    assert registers.device("sl651", RTU.identity) is None
    devices.store(RTU, actor="t")
    registers.forget()
    assert devices.device("sl651", RTU.identity) == RTU == registers.device("sl651", RTU.identity)
    rejected = replace(RTU, station=None, status=DeviceStatus.REJECTED)
    devices.store(rejected, actor="t")
    assert devices.devices() == [rejected]
    assert devices.devices(after=("sl651", RTU.identity)) == []
    assert devices.remove("sl651", RTU.identity, actor="t")
    assert not devices.remove("sl651", RTU.identity, actor="t")
    assert devices.devices() == []
    assert "1234" not in repr(RTU)


def test_a_device_needs_a_station_that_exists(database: Database) -> None:
    devices = DeviceRepository(database)
    with pytest.raises(NotFoundError, match="W9"):
        devices.store(replace(RTU, station="W9"), actor="t")
    with pytest.raises(ConflictError):
        devices.store(replace(RTU, station=None), actor="t")


def test_unknown_devices_are_those_whose_frames_wait(database: Database) -> None:
    devices, observations = DeviceRepository(database), ObservationRepository(database)
    later = NOW + timedelta(hours=1)
    for body, at in ((b"one", NOW), (b"two", later), (b"two", later)):
        observations.commit(waiting_frame("sl651:3304020001", body, at))
    observations.commit(waiting_frame("hj212:MN1", b"x", NOW))
    observations.commit(waiting_frame("hj212:MN2", b"y", NOW, code="station"))  # known, refused for another reason
    second, first = devices.unknown()
    assert (first.device, first.first_seen, first.last_seen, first.frames) == ("sl651:3304020001", NOW, later, 2)
    assert (first.transport, first.source) == ("tcp", "tcp://10.0.0.9/sl651")
    assert second.device == "hj212:MN1"
    assert [item.device for item in devices.unknown(after="hj212:MN1", limit=1)] == ["sl651:3304020001"]
    assert devices.newest_frame("sl651:3304020001") == b"two"

    entries = devices.waiting("sl651:3304020001")
    assert [entry.code for entry in entries] == ["unknown_device"] * 2
    observations.resolve_quarantine([entry.id for entry in entries], None, later)
    assert [item.device for item in devices.unknown()] == ["hj212:MN1"]
    assert devices.newest_frame("sl651:3304020001") is None
