"""Station, Sensor, ObservedProperty, Datastream, Observation: the words of OGC SensorThings with Station for Thing.

References: OGC 18-088 (SensorThings API 1.1), ISO 19156:2023 (Observations, measurements and samples), GB/T 2260 (codes of
administrative divisions). Positions are CGCS2000 geographic coordinates in degrees. This file finishes with `StationEvent`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from domain.errors import InputError

STATION_CODE = re.compile(r"^[^\W_][\w.\-]{0,63}$", re.UNICODE)
PROPERTY_CODE = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
CHANNEL_CODE = re.compile(r"^[\w.\-]{1,64}$", re.UNICODE)


class StationKind(StrEnum):
    """What a station is; the field's instruments and sites (domain brief 1.2, 3.2)."""

    BENCHMARK = "benchmark"
    BEDROCK_MARK = "bedrock_mark"
    GNSS_MARK = "gnss_mark"
    EXTENSOMETER_GROUP = "extensometer_group"
    OBSERVATION_WELL = "observation_well"
    GEOTHERMAL_WELL = "geothermal_well"
    REINJECTION_WELL = "reinjection_well"
    METER = "meter"
    QUARRY = "quarry"
    BAROMETER = "barometer"
    RAIN_GAUGE = "rain_gauge"
    INSAR_AREA = "insar_area"
    OTHER = "other"


class Disclosure(StrEnum):
    """Who may see a station's position and absolute heights (自然资发〔2020〕95号: control points are controlled)."""

    OPEN = "open"
    ROUNDED = "rounded"
    RELATIVE = "relative"
    RESTRICTED = "restricted"


class ValueKind(StrEnum):
    """How a result stands in time."""

    INSTANT = "instant"
    MEAN = "mean"
    TOTAL = "total"
    TOTALISER = "totaliser"


class EventEffect(StrEnum):
    """What an event does to the series of a station: read by every analysis and drawn on every chart."""

    OFFSET = "offset"
    BREAK = "break"
    EXCLUDE = "exclude"
    NONE = "none"
    NO_OFFSET = "no_offset"
    """A person looked: whatever an analysis proposes here, the level did not shift."""


class EventKind(StrEnum):
    """What happened at a station."""

    ANTENNA_CHANGE = "antenna_change"
    RESET = "re_set"
    DATUM_CHANGE = "datum_change"
    SENSOR_SWAP = "sensor_swap"
    CALIBRATION = "calibration"
    PUMP_STATE = "pump_state"
    CONSTRUCTION = "construction"
    MAINTENANCE = "maintenance"
    TAMPER = "tamper"
    EARTHQUAKE = "earthquake"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ObservedProperty:
    """One observable, with its canonical UCUM unit and sign.

    `direction` says in words which way is positive; `needs_datum` is true for absolute heights; `lowest` and `highest` bound
    what is physically plausible, in `unit`.
    """

    code: str
    name_zh: str
    name_en: str
    unit: str
    direction: str
    value_kind: ValueKind = ValueKind.INSTANT
    needs_datum: bool = False
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class Station:
    """A place that is observed. `code` is immutable and unique in a node whatever its case."""

    code: str
    kind: StationKind
    name_zh: str
    name_en: str
    region_code: str | None = None
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    height_m: float | None = None
    disclosure: Disclosure = Disclosure.RESTRICTED
    zone_code: str | None = None
    tags: tuple[str, ...] = ()
    confirmed: bool = True
    simulated: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    station_id: int | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """An instrument at a station, with what proves its numbers."""

    station: str
    code: str
    model: str | None = None
    serial: str | None = None
    calibrated_on: date | None = None
    calibration_due: date | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)
    datum_code: str | None = None
    installed_at: datetime | None = None
    removed_at: datetime | None = None
    sensor_id: int | None = None


class DeviceStatus(StrEnum):
    """What somebody decided about a device: frames of a rejected one are neither stored nor answered."""

    ADMITTED = "admitted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Device:
    """Who sends: the identity that frames carry, and the station that they are of.

    Attributes
    ----------
    protocol
        Name of the message format: `sl651`, `hj212`, `chirpstack` ...
    identity
        As the sender writes it: address of the RTU, MN, devEui.
    station
        Code of its station; None only for a rejected device.
    password
        What its frames must carry where the protocol has a password; None = whatever they carry.
    attributes
        What differs from the protocol's own tables, e.g. `elements`, `ignored`, `zone`, `model`.
    """

    protocol: str
    identity: str
    station: str | None
    status: DeviceStatus = DeviceStatus.ADMITTED
    password: str | None = field(default=None, repr=False)
    note: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """`{protocol}:{identity}`."""
        return f"{self.protocol}:{self.identity}"


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a derived datastream is made: the schema refuses a derived datastream without it."""

    method: str
    version: str
    parameters: Mapping[str, Any]
    input_digest: str
    source_datastream_id: int | None = None


@dataclass(frozen=True, slots=True)
class Datastream:
    """One property, one sensor, one station, one unit, one depth interval."""

    station: str
    property_code: str
    unit: str
    channel: str | None = None
    sensor: str | None = None
    name_zh: str | None = None
    name_en: str | None = None
    interval_s: float | None = None
    depth_top_m: float | None = None
    depth_bottom_m: float | None = None
    aquifer: str | None = None
    datum_code: str | None = None
    datum_epoch: date | None = None
    frame: str | None = None
    derivation: Derivation | None = None
    confirmed: bool = True
    disclosure: Disclosure | None = None
    lowest: float | None = None
    highest: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    datastream_id: int | None = None

    @property
    def code(self) -> str:
        """`{station}:{property}` or `{station}:{property}:{channel}`."""
        return datastream_code(self.station, self.property_code, self.channel)


@dataclass(frozen=True, slots=True)
class StationEvent:
    """A dated fact about a station (antenna change, re-set, sensor swap ...) and what it does to the series.

    `datastream` narrows it to one datastream code; None means all of the station. `size` is a known offset in the unit of the
    datastream, if the log states one.
    """

    station: str
    kind: EventKind
    start: datetime
    end: datetime | None = None
    effect: EventEffect = EventEffect.NONE
    datastream: str | None = None
    size: float | None = None
    note: str | None = None
    author: str | None = None
    event_id: int | None = None


def station_code(text: str, *, where: str | None = None) -> str:
    """Return `text` in NFC form, or raise `InputError` when it is no station code."""
    code = unicodedata.normalize("NFC", text.strip())
    if not STATION_CODE.match(code):
        raise InputError(
            f"{text!r} is not a station code.",
            where=where,
            remedy="use 1 to 64 letters (any script), digits, '.', '_' or '-', beginning with a letter or a digit",
        )
    return code


def datastream_code(station: str, observed_property: str, channel: str | None = None) -> str:
    """Join the parts of a datastream's code."""
    return f"{station}:{observed_property}" + (f":{channel}" if channel else "")


def split_datastream_code(code: str) -> tuple[str, str, str | None]:
    """Split `{station}:{property}[:{channel}]`; raise `InputError` when it has another shape."""
    parts = unicodedata.normalize("NFC", code).split(":")
    if len(parts) not in {2, 3} or not PROPERTY_CODE.match(parts[1]):
        raise InputError(f"{code!r} is not a datastream code.", remedy="write station:property or station:property:channel")
    station = station_code(parts[0])
    channel = parts[2] if len(parts) == 3 else None
    if channel is not None and not CHANNEL_CODE.match(channel):
        raise InputError(f"{channel!r} is not a channel.", remedy="use letters, digits, '.', '_' or '-'")
    return station, parts[1], channel
