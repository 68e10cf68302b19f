"""Time series of Delft-FEWS (Published Interface, pi_timeseries.xsd): what forecasting systems hand on.

The document states its zone as hours ahead of UTC. Which parameter is which property a profile says (`parameters:` by its id); an id that is
a property code maps itself. Accumulations and means cover the time step that ends at their time. Flags 0 to 2 are reliable, 3 to 5
doubtful, 6 to 8 unreliable, 9 missing. Reference: Deltares, Delft-FEWS documentation, PI time series. This file finishes with `parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta, timezone, tzinfo
from typing import Any

import numpy as np

from domain.errors import FormatError, UnitError
from domain.model import PROPERTY_CODE
from domain.observation import Columns, ParsedPayload, Rejected, SourceStream, columns, concatenate
from domain.quality import Quality
from domain.units import canonical, parse_unit
from ingest.formats.decoding import is_number
from ingest.formats.format import ImportContext, require_zone
from ingest.formats.timestamps import parse_times, parse_zone
from ingest.formats.xml_tree import Node, read_xml
from ingest.profile import ColumnRule, Profile

_NAMESPACE = b"http://www.wldelft.nl/fews/PI"
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_UNITS = {"mmh2o": "mm[H2O]", "degc": "Cel", "°c": "Cel"}
_COVERS_ITS_STEP = frozenset({"accumulative", "mean"})


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is a PI time series."""
    del filename
    return 1.0 if _NAMESPACE in raw[:4096] and b"TimeSeries" in raw[:4096] else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse every series whose parameter is known.

    Raises
    ------
    FormatError
        It is no such document, its zone is not stated, or none of its parameters is known.
    """
    root = read_xml(raw, where=context.filename)
    if root.name != "TimeSeries":
        raise FormatError(
            "the document is no TimeSeries of Delft-FEWS.", where=context.filename, remedy="give the right --format"
        )
    zone = _zone(root, profile, context)
    streams: list[SourceStream] = []
    parts: list[Columns] = []
    rejected: list[Rejected] = []
    unknown: set[str] = set()
    for series in root.every("series"):
        header = series.first("header") or Node("header", {}, series.line)
        parameter = header.words("parameterId") or ""
        rule = _rule(parameter, profile)
        if rule is None:
            unknown.add(parameter)
            continue
        streams.append(_stream(header, rule, profile, context))
        parts.append(_column(series, header, rule, zone, len(streams) - 1, context, rejected))
    if not streams:
        raise FormatError(
            f"no parameter of the document ({', '.join(sorted(unknown)) or 'none found'}) is known.",
            where=context.filename,
            remedy="name it in a profile: format: fews, parameters: {P.radar.h: {property: rainfall}}",
        )
    notes: dict[str, Any] = {"parameters_not_stored": sorted(unknown)} if unknown else {}
    return ParsedPayload(tuple(streams), concatenate(parts), tuple(rejected), notes)


def _zone(root: Node, profile: Profile | None, context: ImportContext) -> tzinfo:
    stated = root.words("timeZone")
    if stated is not None and is_number(stated) and abs(float(stated)) <= 14:
        return timezone(timedelta(hours=float(stated)))
    return parse_zone(require_zone(profile, context), where=context.filename)


def _rule(parameter: str, profile: Profile | None) -> ColumnRule | None:
    known = profile.parameters.get(parameter) if profile else None
    return known or (ColumnRule((parameter,), parameter) if PROPERTY_CODE.match(parameter) else None)


def _stream(header: Node, rule: ColumnRule, profile: Profile | None, context: ImportContext) -> SourceStream:
    place = profile.station if profile else None
    location = header.words("locationId") or ""
    code = context.station or (place and (place.constant or place.codes.get(location))) or location
    if not code:
        raise FormatError("nothing says which station this is.", where=context.filename, remedy="give --station CODE")
    latitude, longitude = (header.words(name) or "" for name in ("lat", "lon"))
    is_placed = is_number(latitude) and is_number(longitude) and abs(float(latitude)) <= 90 and abs(float(longitude)) <= 180
    return SourceStream(
        station=code,
        property_code=rule.property_code,
        channel=rule.channel,
        unit=rule.unit or _unit(header.words("units")),
        datum=rule.datum or (profile.datum if profile else None),
        kind=place.kind if place else None,
        name_zh=header.words("stationName"),
        name_en=header.words("stationName"),
        longitude_deg=float(longitude) if is_placed else None,
        latitude_deg=float(latitude) if is_placed else None,
        interval_s=_step_s(header),
    )


def _unit(text: str | None) -> str | None:
    code = _UNITS.get((text or "").casefold()) or canonical(text or "")
    try:
        parse_unit(code)
    except UnitError:
        return None
    return code or None


def _step_s(header: Node) -> float | None:
    step = header.first("timeStep")
    attributes: Mapping[str, str] = step.attributes if step is not None else {}
    multiplier = attributes.get("multiplier", "1")
    seconds = _SECONDS.get(attributes.get("unit", ""))
    return seconds * float(multiplier) if seconds and is_number(multiplier) and 0 < float(multiplier) < 1e6 else None


def _column(
    series: Node,
    header: Node,
    rule: ColumnRule,
    zone: tzinfo,
    stream: int,
    context: ImportContext,
    rejected: list[Rejected],
) -> Columns:
    events = [node for node in series.children if node.name == "event"]
    stamps = [f"{event.attributes.get('date', '')} {event.attributes.get('time', '')}" for event in events]
    times, _ = parse_times(np.array(stamps, dtype=object), ("iso",), zone, where=context.filename)
    missing = header.words("missVal")
    keep: list[int] = []
    values, flags = [], []
    for row, event in enumerate(events):
        text = event.attributes.get("value", "").strip()
        is_missing = text == missing or text.casefold() in {"", "nan"}
        flag = event.attributes.get("flag", "0")
        if np.isnat(times[row]):
            rejected.append(Rejected(event.line, "time", f"{stamps[row]!r} is no time; correct it", text.encode()))
        elif not is_missing and not (is_number(text) and np.isfinite(float(text))):
            rejected.append(Rejected(event.line, "value", f"{text!r} is no number; correct it", text.encode()))
        else:
            keep.append(row)
            values.append(float("nan") if is_missing else rule.scale * float(text))
            flags.append(int(Quality.MISSING) if is_missing else _quality(flag))
    reasons = np.empty(len(keep), dtype=object)
    reasons[:] = [("source_flag",) if flag in {3, 4} else None for flag in flags]
    step = _step_s(header)
    ends = times[keep]
    covers = step is not None and (header.words("type") or "") in _COVERS_ITS_STEP
    begins = ends - np.timedelta64(round((step or 0.0) * 1e6), "us") if covers else ends
    return columns(
        stream,
        begins,
        values,
        quality=flags,
        line=[events[row].line for row in keep],
        end=ends if covers else None,
        reasons=reasons if any(reasons) else None,
    )


def _quality(flag: str) -> int:
    """Return the flag of an event; one that nobody knows is not evaluated."""
    known = int(flag) if flag.isascii() and flag.isdigit() and len(flag) == 1 else -1
    return int([Quality.GOOD, Quality.SUSPECT, Quality.FAIL][known // 3]) if 0 <= known < 9 else int(Quality.UNKNOWN)
