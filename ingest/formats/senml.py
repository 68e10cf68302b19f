"""SenML, JSON and CBOR (RFC 8428): a pack of records with base fields, resolved and laid onto stations and properties.

The resolved name says what a record is of: `{station}:{property}[:{channel}]`, `{anything}/{property}`, `urn:dev:...:{property}` or
`urn:groundwatch:{node}:{station}:{property}[:{channel}]`; where topic or flag states the station, a bare `{property}[:{channel}]`.
Times below 2^28 count from the moment of receipt (RFC 8428 section 4.5.3), which a file does not keep: there a profile states it under
`time: origin:`. A sum (`s`) is the channel `sum` of its name, in the unit times seconds. Texts and data (`vs`, `vd`) are no
observations and go to quarantine. This file finishes with `parse`.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
import numpy as np

from domain.errors import FormatError, InputError, UnitError
from domain.model import CHANNEL_CODE, PROPERTY_CODE, station_code
from domain.observation import ParsedPayload, Rejected
from domain.quality import Quality
from domain.units import convert
from ingest.formats.decoding import head
from ingest.formats.element_rows import ElementRows, stream_of
from ingest.formats.format import ImportContext
from ingest.formats.message import MessageContext
from ingest.formats.native_json import NO_END, Element, Elements
from ingest.formats.senml_units import ucum_of
from ingest.formats.timestamps import parse_times, parse_zone
from ingest.profile import Profile

VERSION = 10
RELATIVE_BELOW_S = 2**28
_CBOR_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_TEXTS = frozenset({"bn", "bu", "n", "u", "vs"})
_NUMBERS = frozenset({"bt", "bv", "bs", "bver", "v", "s", "t", "ut"})
_BASE_LABELS = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_VALUES = ("v", "vs", "vb", "vd")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_DEVICE_URN = re.compile(r"urn:dev:[^:]+:(?P<identity>[^:/]+)[:/](?P<key>.+)")
_NODE_URN = re.compile(r"urn:groundwatch:[^:]+:(?P<station>[^:]+):(?P<key>.+)")
_LARGEST_TIME_S = 2.0**36
_CBOR_ARRAY = range(0x80, 0xA0)
_TAGGED = 0xD9


@dataclass(frozen=True, slots=True)
class Record:
    """One resolved record: full name, UCUM unit, seconds since 1970 UTC, value (NaN = none), sum (None = none) and update time."""

    line: int
    name: str
    unit: str | None
    time_s: float
    value: float | str | None
    sum: float | None = None
    update_s: float | None = None


@dataclass(slots=True)
class _Base:
    """The base values in force (RFC 8428 section 4.1): those of the record itself or of the records before it."""

    name: str = ""
    time_s: float = 0.0
    unit: str | None = None
    value: float | None = None
    sum: float | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        self.name = record.get("bn", self.name)
        self.time_s = float(record.get("bt", self.time_s))
        self.unit = record.get("bu", self.unit)
        self.value = record.get("bv", self.value)
        self.sum = record.get("bs", self.sum)


@dataclass(slots=True)
class Pack:
    """A pack after resolution."""

    records: list[Record] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is SenML."""
    if raw[:1] and (raw[0] in _CBOR_ARRAY or raw[0] == _TAGGED):
        return 0.95 if _looks_like_cbor(raw) else 0.0
    beginning = head(raw, 4096).lstrip()
    if not beginning.startswith("["):
        return 0.0
    if re.search(r'"b[ntuvs]"\s*:', beginning) or (
        re.search(r'"n"\s*:\s*"', beginning) and re.search(r'"(v|vs|vb|vd|s)"\s*:', beginning)
    ):
        return 0.95
    return 0.6 if filename.lower().endswith((".senml", ".senml.json")) else 0.0


def _looks_like_cbor(raw: bytes) -> bool:
    try:
        content = cbor2.CBORDecoder(io.BytesIO(raw)).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return False
    return isinstance(content, list) and len(content) > 0 and all(isinstance(item, dict) for item in content)


def resolve(raw: bytes, *, now_s: float | None, where: str) -> Pack:
    """Read a pack and apply its base fields.

    Parameters
    ----------
    raw
        JSON or CBOR, told apart by the first byte.
    now_s
        Seconds since 1970 UTC that relative times count from; None refuses such records.

    Raises
    ------
    FormatError
        When the bytes are no pack, its version is newer than 10 or changes, or a field that must be understood is not.
    """
    records = _records(raw, where)
    _check_version(records, where)
    pack, base = Pack(), _Base()
    for line, record in enumerate(records, start=1):
        fault = _fault(record, where)
        if fault is not None and isinstance(record, dict) and _BASE_LABELS & record.keys():
            raise FormatError(
                f"record {line} cannot be read ({fault[1]}), and the records after it depend on its base fields.",
                where=where,
                remedy="repair it and send the pack again",
            )
        if fault is None:
            base.take(record)
            if not _is_base_only(record):
                fault = _append(pack, record, base, line, now_s)
        if fault is not None:
            pack.rejected.append(Rejected(line, fault[0], fault[1], _bytes_of(record)))
    return pack


def _records(raw: bytes, where: str) -> list[Any]:
    remedy = 'send [{"n": "depth_to_water", "u": "m", "v": 5.23}]'
    try:
        if raw[:1] and (raw[0] in _CBOR_ARRAY or raw[0] == _TAGGED):
            content = cbor2.loads(raw)
        else:
            content = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, cbor2.CBORError) as fault:
        raise FormatError("the payload is no SenML, neither JSON nor CBOR.", where=where, remedy=remedy) from fault
    if not isinstance(content, list):
        raise FormatError("a SenML pack is an array of records.", where=where, remedy=remedy)
    return [_labelled(item) if isinstance(item, dict) else item for item in content]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _labelled(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a record with the text labels of JSON; integer labels are those of CBOR (RFC 8428 section 6)."""
    return {_CBOR_LABELS.get(key, str(key)) if isinstance(key, int) else str(key): value for key, value in record.items()}


def _check_version(records: list[Any], where: str) -> None:
    versions = {record["bver"] for record in records if isinstance(record, dict) and isinstance(record.get("bver"), int | float)}
    if len(versions) > 1:
        raise FormatError("the records of the pack have several versions.", where=where, remedy="send one version a pack")
    if versions and max(versions) > VERSION:
        raise FormatError(
            f"the pack is SenML version {max(versions)}; {VERSION} and earlier are understood.",
            where=where,
            remedy="send version 10 (leave out bver)",
        )


def _fault(record: Any, where: str) -> tuple[str, str] | None:
    """Return why a record cannot be read as it stands, or None.

    Raises
    ------
    FormatError
        On a field whose label ends in `_` and is not known: it must be understood (RFC 8428 section 4.4).
    """
    if not isinstance(record, dict):
        return "json", "the record is no object; send {n, u, v}"
    for label, value in record.items():
        if label.endswith("_"):
            raise FormatError(
                f"the pack holds the field {label!r}, which must be understood and is not.",
                where=where,
                remedy="send the pack without this extension",
            )
        if label in _TEXTS and not isinstance(value, str):
            return "value", f"{label} is no text"
        if label in _NUMBERS and _number(value) is None:
            return "value", f"{label} is no finite number"
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_base_only(record: Mapping[str, Any]) -> bool:
    return not any(label in record for label in ("n", "t", "u", "ut", "s", *_VALUES))


def _append(pack: Pack, record: Mapping[str, Any], base: _Base, line: int, now_s: float | None) -> tuple[str, str] | None:
    name = base.name + record.get("n", "")
    if not _NAME.fullmatch(name):
        return "station", f"{name!r} is no SenML name; use letters, digits and - : . / _, beginning with a letter or digit"
    present = [label for label in _VALUES if label in record]
    if len(present) > 1:
        return "value", f"the record has several values ({', '.join(present)}); send one a record"
    total = None if base.sum is None and "s" not in record else float(base.sum or 0.0) + float(record.get("s", 0.0))
    value = _value(record, base, present[0] if present else None)
    if value is None and total is None:
        return "value", "the record has neither value nor sum; send v, vb or s"
    time = _time(base.time_s + float(record.get("t", 0.0)), now_s)
    if isinstance(time, str):
        return "time", time
    stated = record.get("u", base.unit)
    unit = ucum_of(stated) if stated is not None else None
    if stated is not None and unit is None:
        return "unit", f"{stated!r} is no unit of the SenML registry; send one of it, such as m, Cel, hPa, m3/s"
    if isinstance(value, str) and total is None:
        return "value", f"{present[0]} is no number and no observation; configure the device to send v or vb"
    if not all(math.isfinite(number) for number in (value, total) if isinstance(number, float)):
        return "value", "value and base value add up to no finite number"
    pack.records.append(Record(line, name, unit, time, value, total, record.get("ut")))
    return None


def _value(record: Mapping[str, Any], base: _Base, label: str | None) -> float | str | None:
    if label == "v":
        return float(base.value or 0.0) + float(record["v"])
    if label == "vb":
        return float(record["vb"]) if isinstance(record["vb"], bool) else str(record["vb"])
    if label is not None:
        return str(record[label])
    return None if base.value is None or "s" in record else float(base.value)


def _time(stated_s: float, now_s: float | None) -> float | str:
    """Return seconds since 1970, or why there are none."""
    if abs(stated_s) >= _LARGEST_TIME_S:
        return "the time is impossible; send seconds since 1970, not milliseconds"
    if stated_s >= RELATIVE_BELOW_S:
        return stated_s
    if now_s is None:
        return "the time counts from the moment of sending, which a file does not keep; state it under time: origin: of a profile"
    return now_s + stated_s


def _bytes_of(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False, default=repr).encode("utf-8", errors="replace")


def place(name: str, station: str | None) -> tuple[str | None, str]:
    """Split a resolved name into station (None = not stated) and key `property[:channel]`.

    Examples
    --------
    >>> place("urn:dev:ow:10e2073a01080063:depth_to_water", None)
    ('10e2073a01080063', 'depth_to_water')
    >>> place("JX-W01:depth_to_water:upper", None), place("depth_to_water:upper", "JX-W01")
    (('JX-W01', 'depth_to_water:upper'), ('JX-W01', 'depth_to_water:upper'))
    """
    for pattern, group in ((_NODE_URN, "station"), (_DEVICE_URN, "identity")):
        match = pattern.fullmatch(name)
        if match is not None:
            # A device's own identity is its station's code only where nothing else states one.
            stated = match[group] if group == "station" or station is None else station
            return stated, match["key"]
    if "/" in name:
        before, _, key = name.rpartition("/")
        return (station or before.rpartition("/")[2]), key
    first, _, rest = name.partition(":")
    if station is not None:
        return station, rest if rest and first.casefold() == station.casefold() else name
    if rest:
        return first, rest
    return None, name


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the payload of a message; relative times count from its receipt."""
    pack = resolve(raw, now_s=context.received_at.timestamp(), where=context.where)
    found = Elements(rejected=list(pack.rejected))
    for record in pack.records:
        station, key = place(record.name, context.station)
        if station is not None and station.casefold() != context.station.casefold():
            reason = f"the record names station {station!r}, its topic {context.station!r}; send it under its own name"
            found.rejected.append(Rejected(record.line, "station", reason, record.name.encode("utf-8")))
            continue
        for element, unit in _elements(record, key, found.rejected):
            known = found.units.setdefault(element.key, unit) if unit is not None else found.units.get(element.key)
            try:
                same = element.result if unit is None or known in {None, unit} else convert(element.result, unit, known or unit)
            except UnitError as fault:
                found.rejected.append(Rejected(record.line, "unit", str(fault), record.name.encode("utf-8")))
                continue
            found.values.append(element._replace(result=same))
    return found


def _elements(record: Record, key: str, rejected: list[Rejected]) -> Iterator[tuple[Element, str | None]]:
    """Yield the observations of one record (its value, its sum) with their units."""
    name, _, channel = key.partition(":")
    if not PROPERTY_CODE.match(name) or (channel and not CHANNEL_CODE.match(channel)):
        reason = f"{key!r} is no property; name the record property or property:channel, or map it with columns: of a profile"
        rejected.append(Rejected(record.line, "property", reason, record.name.encode("utf-8")))
        return
    time_us = round(record.time_s * 1_000_000)
    good = int(Quality.GOOD)
    if isinstance(record.value, float):
        yield Element(key, time_us, NO_END, record.value, math.nan, good, None, record.line), record.unit
    if record.sum is not None:
        summed = f"{name}:{channel}.sum" if channel else f"{name}:sum"
        unit = None if record.unit is None else f"{record.unit}.s"
        yield Element(summed, time_us, NO_END, record.sum, math.nan, good, None, record.line), unit


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a pack from a file.

    A profile may rename (`columns: - {match: voltage, property: battery_voltage, unit: V}`, matched with the last part of the name or the
    whole name) and state the origin of relative times (`time: origin:`).
    """
    pack = resolve(raw, now_s=_origin_s(profile, context), where=context.filename)
    rows = ElementRows()
    rows.rejected.extend(pack.rejected)
    constant = context.station or (profile.station.constant if profile else None)
    for record in pack.records:
        station, key = place(record.name, constant)
        rule = next((r for r in profile.columns if key in r.match or record.name in r.match), None) if profile else None
        if rule is not None:
            key = rule.property_code + (f":{rule.channel}" if rule.channel else "")
        try:
            if station is None:
                raise InputError("the name states no station.", remedy="give --station CODE")
            code = station_code(station)
        except InputError as fault:
            rows.rejected.append(Rejected(record.line, "station", str(fault), record.name.encode("utf-8")))
            continue
        for element, unit in _elements(record, key, rows.rejected):
            stated = unit or (rule.unit if rule else None)
            scaled = element if rule is None else element._replace(result=element.result * rule.scale)
            datum = (rule.datum if rule else None) or (profile.datum if profile else None)
            rows.add(stream_of(code, element.key, stated, datum=datum, interval_s=record.update_s or None), scaled)
    return rows.payload()


def _origin_s(profile: Profile | None, context: ImportContext) -> float | None:
    if profile is None or profile.time.origin is None:
        return None
    zone = context.zone or profile.time.zone
    origin = np.array([profile.time.origin], dtype=object)
    moment = parse_times(origin, ("iso",), parse_zone(zone) if zone else None, where=context.filename)[0][0]
    if np.isnat(moment):
        raise FormatError("time: origin: is no time.", where=context.filename, remedy="write 2024-08-01T00:00:00+08:00")
    return float(moment.astype(np.int64)) / 1e6
