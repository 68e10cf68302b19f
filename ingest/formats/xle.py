"""Solinst Levelogger files (.xle, XML): what the channels of one logger recorded.

Times are those of the logger's clock and have no zone, so one must be declared. A channel is placed by a profile, whose columns match its
identification (LEVEL, TEMPERATURE ...); without one, a temperature is that of the water, and a level goes nowhere: whether it is what
stands above the sensor, with or without the air, only its keeper knows. Reference: Solinst, Levelogger user guide, data files.
This file finishes with `parse`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from domain.errors import FormatError, UnitError
from domain.observation import Columns, ParsedPayload, Rejected, SourceStream, columns, concatenate
from domain.units import canonical, parse_unit
from ingest.formats.decoding import is_number
from ingest.formats.format import ImportContext, require_zone
from ingest.formats.header import fold
from ingest.formats.timestamps import parse_times, parse_zone
from ingest.formats.xml_tree import Node, read_xml
from ingest.profile import ColumnRule, Profile

_MARK = b"<Body_xle"
_UNITS = {"°c": "Cel", "deg c": "Cel", "c": "Cel", "ms/cm": "mS/cm", "µs/cm": "uS/cm"}
_OWN = {"temperature": ColumnRule(("TEMPERATURE",), "water_temperature")}


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is a Levelogger's file."""
    del filename
    return 1.0 if _MARK in raw[:1024] else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse the channels that have a place; the others are named in `notes["channels_not_stored"]`.

    Raises
    ------
    FormatError
        It is no such file, no zone is declared, or no channel has a place.
    """
    root = read_xml(_as_utf8(raw), where=context.filename)
    logs = list(root.every("Log"))
    if root.name != "Body_xle":
        raise FormatError("the document is no Body_xle.", where=context.filename, remedy="give the right --format")
    zone = parse_zone(require_zone(profile, context), where=context.filename)
    station = _station(root, profile, context)
    streams: list[SourceStream] = []
    parts: list[Columns] = []
    rejected: list[Rejected] = []
    unplaced: list[str] = []
    stamps = np.array([_stamp(log) for log in logs], dtype=object)
    times, _ = parse_times(stamps, ("%Y-%m-%d %H:%M:%S.%f",), zone, where=context.filename)
    for number, header in _channels(root):
        name = header.words("Identification") or f"channel {number}"
        rule = _rule(name, profile)
        if rule is None:
            unplaced.append(name)
            continue
        streams.append(_stream(root, station, header, rule, profile))
        parts.append(_column(logs, times, f"ch{number}", rule.scale, len(streams) - 1, rejected))
    if not streams:
        raise FormatError(
            f"no channel of the logger ({', '.join(unplaced) or 'none found'}) has a place.",
            where=context.filename,
            remedy='map it in a profile: format: xle, columns: [{match: LEVEL, property: water_pressure, unit: "m[H2O]"}]',
        )
    notes: dict[str, Any] = {"logger": {"model": root.words("Model_number"), "serial": root.words("Serial_number")}}
    notes |= {"channels_not_stored": unplaced} if unplaced else {}
    return ParsedPayload(tuple(streams), concatenate(parts), tuple(sorted(rejected, key=lambda item: item.line)), notes)


def _as_utf8(raw: bytes) -> bytes:
    """The files say nothing of their encoding; older loggers write the degree sign of Windows."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace").encode("utf-8")
    return raw


def _channels(root: Node) -> list[tuple[int, Node]]:
    found = [(node.name[2:].removesuffix("_data_header"), node) for node in root.children if node.name.endswith("_data_header")]
    return [(int(number), node) for number, node in found if number.isascii() and number.isdigit()]


def _stamp(log: Node) -> str:
    milliseconds = log.words("ms") or "0"
    fraction = milliseconds.zfill(3) if milliseconds.isascii() and milliseconds.isdigit() else "?"
    return f"{(log.words('Date') or '').replace('/', '-')} {log.words('Time') or ''}.{fraction}"


def _rule(name: str, profile: Profile | None) -> ColumnRule | None:
    if profile is not None and profile.columns:
        return next(
            (rule for rule in profile.columns if any(isinstance(m, str) and fold(m) == fold(name) for m in rule.match)), None
        )
    return _OWN.get(fold(name))


def _station(root: Node, profile: Profile | None, context: ImportContext) -> str:
    place = profile.station if profile else None
    location = root.words("Location") or ""
    stated = context.station or (place and (place.constant or place.codes.get(location))) or location
    if not stated:
        raise FormatError("nothing says which station this is.", where=context.filename, remedy="give --station CODE")
    return stated


def _stream(root: Node, station: str, header: Node, rule: ColumnRule, profile: Profile | None) -> SourceStream:
    made = SourceStream(
        station=station,
        property_code=rule.property_code,
        channel=rule.channel,
        unit=rule.unit or _unit(header.words("Unit")),
        datum=rule.datum or (profile.datum if profile else None),
        sensor=rule.sensor or root.words("Serial_number"),
        interval_s=rule.interval_s,
    )
    return replace(made, kind=profile.station.kind) if profile else made


def _unit(text: str | None) -> str | None:
    code = _UNITS.get((text or "").casefold()) or canonical(text or "")
    try:
        parse_unit(code)
    except UnitError:
        return None
    return code or None


def _column(
    logs: list[Node], times: np.ndarray[Any, Any], channel: str, scale: float, stream: int, rejected: list[Rejected]
) -> Columns:
    keep: list[int] = []
    values: list[float] = []
    for row, log in enumerate(logs):
        text = log.words(channel)
        if np.isnat(times[row]):
            rejected.append(
                Rejected(log.line, "time", f"{_stamp(log)!r} is no time of the zone; correct it", (text or "").encode())
            )
        elif text is not None and not (is_number(text) and np.isfinite(float(text))):
            rejected.append(Rejected(log.line, "value", f"{text!r} is no number; correct it", text.encode()))
        else:
            keep.append(row)
            values.append(float("nan") if text is None else scale * float(text))
    return columns(stream, times[keep], values, line=[logs[row].line for row in keep])
