"""Clock faults by format: whatever a device's clock does wrong, its observations are flagged or quarantined, never silently good.

Every case is written as the device would send it, in each format that devices speak, and followed from its bytes to the stored flag.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, timedelta

import cbor2
import pytest

from domain.model import Datastream, Device, Station, StationKind
from ingest.pipeline import Pipeline
from tests.ingest import rtu
from tests.ingest.conftest import NOW
from tests.ingest.device_clocks import (
    FILES,
    MESSAGES,
    Said,
    Wall,
    devices,
    hj212,
    message_of,
    on_the_clock,
    profile_of,
    toa5,
    written,
)
from tests.ingest.memory import MemoryRegistry, MemoryStore

NOBODY = Said(Wall("", ""))
STATION, DEV_EUI = NOBODY.station, NOBODY.dev_eui
EVERYWHERE = [*MESSAGES, *FILES]
SAYS_SECONDS = {"native_json epoch", "senml", "senml cbor", "senml file"}
"""Formats that count seconds: what no calendar has cannot be said in them."""


@dataclass(frozen=True)
class Outcome:
    """What became of one observation: its UTC time, flag and reasons, or the codes under which it waits in quarantine."""

    time: str | None = None
    quality: int | None = None
    reasons: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()


class Room:
    """The whole way from bytes to what is stored, with one well."""

    def __init__(self) -> None:
        self.registry, self.store = MemoryRegistry(), MemoryStore()
        self.pipeline = Pipeline(self.registry, self.store)
        self.registry.add_station(Station(STATION, StationKind.OBSERVATION_WELL, "一号", "one"), actor="t")
        self.registry.add_datastream(Datastream(STATION, "depth_to_water", "m"), actor="t")
        for device in devices(NOBODY):
            self.registry.devices[device.protocol, device.identity] = device

    def send(self, kind: str, raw: bytes) -> Outcome:
        if kind in MESSAGES:
            self.pipeline.ingest_messages([message_of(kind, NOBODY, raw, NOW)], NOW)
        else:
            name, profile = FILES[kind][0], profile_of(kind, NOBODY)
            self.pipeline.ingest_file(raw, "x", format=name, profile=profile, station=STATION, create=False, actor="t", now=NOW)
        codes = tuple(entry.rejected.code for entry in self.store.quarantine)  # type: ignore[attr-defined]
        assert len(self.store.rows) + len(codes) == 1, (self.store.rows, codes)
        if codes:
            return Outcome(quarantined=codes)
        (((_, time), row),) = self.store.rows.items()
        return Outcome(str(time.astype("datetime64[s]")), int(str(row[3])), row[4] or ())  # type: ignore[arg-type]


def outcome_of(kind: str, wall: Wall) -> Outcome:
    return Room().send(kind, written(kind, Said(wall)))


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_a_sound_clock_is_good(kind: str) -> None:
    assert outcome_of(kind, on_the_clock(NOW - timedelta(minutes=5))) == Outcome("2026-11-21T23:55:00", 1)


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_an_observation_from_the_near_future_is_suspect_by_its_clock(kind: str) -> None:
    found = outcome_of(kind, on_the_clock(NOW + timedelta(minutes=30)))
    assert (found.quality, found.reasons) == (3, ("clock",))


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_local_time_sent_as_utc_is_eight_hours_ahead_and_suspect_at_once(kind: str) -> None:
    found = outcome_of(kind, on_the_clock(NOW + timedelta(hours=8)))
    assert (found.quality, found.reasons) == (3, ("clock",))


@pytest.mark.parametrize("kind", EVERYWHERE)
@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=365 * 12)])
def test_an_observation_from_the_far_future_waits_in_quarantine(kind: str, ahead: timedelta) -> None:
    assert outcome_of(kind, on_the_clock(NOW + ahead)) == Outcome(quarantined=("clock",))


@pytest.mark.parametrize("kind", [kind for kind in EVERYWHERE if kind not in SAYS_SECONDS])
def test_24_00_is_the_end_of_its_day(kind: str) -> None:
    assert outcome_of(kind, Wall("2026-11-20", "24:00:00")) == Outcome("2026-11-20T16:00:00", 1)


@pytest.mark.parametrize("kind", [kind for kind in EVERYWHERE if kind not in SAYS_SECONDS])
@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("2026-11-20", "24:30:00"),
        ("2026-11-20", "24:00:30"),
        ("2026-11-20", "25:00:00"),
        ("2026-11-20", "12:60:00"),
        ("2026-02-29", "12:00:00"),
        ("2026-13-01", "12:00:00"),
        ("2026-00-00", "00:00:00"),
    ],
)
def test_what_no_calendar_has_waits_in_quarantine(kind: str, date: str, time: str) -> None:
    if kind.startswith("sl651") and not time.endswith("00"):
        time = "24:01:00"  # its times end with the minute
    found = outcome_of(kind, Wall(date, time))
    if kind == "chirpstack":  # dated by the receipt, and said so
        assert (found.time, found.quality, found.reasons) == ("2026-11-22T00:00:00", 2, ("clock",))
    else:
        assert found.quarantined in {("time",), ("format",)}


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_the_leap_day_is_a_day(kind: str) -> None:
    assert outcome_of(kind, Wall("2024-02-29", "12:00:00")) == Outcome("2024-02-29T04:00:00", 1)


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("date", ["2000-01-01", "2007-04-08"])
def test_a_clock_that_began_anew_is_suspect(kind: str, date: str) -> None:
    """2000-01-01 is where clocks without a battery begin, 1024 weeks ago is where the week of GPS rolls over."""
    found = outcome_of(kind, Wall(date, "00:10:00"))
    assert (found.quality, found.reasons) == (3, ("clock",))


@pytest.mark.parametrize("kind", ["native_json", "native_json columns", "native_json epoch", "chirpstack", "toa5", "toa5 file"])
@pytest.mark.parametrize("date", ["1970-01-02", "1980-01-06", "1990-01-01"])
def test_a_clock_that_stands_at_its_epoch_is_suspect(kind: str, date: str) -> None:
    found = outcome_of(kind, Wall(date, "00:10:00"))
    assert (found.quality, found.reasons) == (3, ("clock",))


def test_an_archive_may_be_as_old_as_it_is() -> None:
    assert outcome_of("csv file", Wall("1931-05-01", "12:00:00")) == Outcome("1931-05-01T04:00:00", 1)


def test_a_year_of_buffered_observations_is_no_fault_of_the_clock() -> None:
    assert outcome_of("native_json", Wall("2025-11-01", "12:00:00")).quality == 1


NO_TIME: dict[str, bytes] = {
    "native_json": json.dumps({"depth_to_water": 5.23}).encode(),
    "native_json columns": json.dumps({"t": [None], "depth_to_water": [5.23]}).encode(),
    "native_json epoch": json.dumps({"t": 0, "depth_to_water": 5.23}).encode(),
    "sl651": rtu.framed(
        bytes.fromhex("0001" + "261121080000" + "F1F1330402000147") + rtu.element("0E", "5.23", 3, 2), function=0x32
    ),
    "hj212": hj212(NOBODY),
    "toa5": toa5(Said(Wall("NAN", ""))),
    "csv file": b"time,Value\n,5.23\n",
}


@pytest.mark.parametrize("kind", NO_TIME)
def test_without_a_time_of_the_device_nothing_is_good(kind: str) -> None:
    found = Room().send(kind, NO_TIME[kind])
    assert found.quarantined in {("time",), ("format",)} or (found.quality != 1 and "clock" in found.reasons)


@pytest.mark.parametrize("kind", ["senml", "senml cbor"])
def test_senml_without_a_time_is_of_now_as_its_standard_says(kind: str) -> None:
    pack = [{"n": "depth_to_water", "u": "m", "v": 5.23}]
    raw = json.dumps(pack).encode() if kind == "senml" else cbor2.dumps(pack)
    assert Room().send(kind, raw) == Outcome("2026-11-22T00:00:00", 1)


def test_an_uplink_without_any_time_is_dated_by_its_receipt_and_says_so() -> None:
    event = {"deviceInfo": {"devEui": DEV_EUI}, "fCnt": 7, "object": {"depth_to_water": 5.23}}
    found = Room().send("chirpstack", json.dumps(event).encode())
    assert (found.time, found.quality, found.reasons) == ("2026-11-22T00:00:00", 2, ("clock",))


def test_a_codec_that_reads_a_dead_clock_does_not_date_by_it() -> None:
    room = Room()
    codec = {"codec": "cayenne_lpp"}
    room.registry.devices["chirpstack", DEV_EUI] = Device("chirpstack", DEV_EUI, STATION, attributes=codec)
    event = {
        "time": NOW.astimezone(UTC).isoformat(),
        "deviceInfo": {"devEui": DEV_EUI},
        "fCnt": 7,
        "fPort": 1,
        "data": base64.b64encode(bytes.fromhex("016700B6")).decode(),
    }
    room.registry.add_datastream(Datastream(STATION, "water_temperature", "Cel"), actor="t")
    assert room.send("chirpstack", json.dumps(event).encode()).quality == 1
