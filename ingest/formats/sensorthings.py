"""Observations of OGC SensorThings 1.1 (OGC 18-088): a list of observations, a Datastream with them expanded, or `dataArray`.

What an answer says depends on how it was asked for: with `$expand=Datastream($expand=Thing,ObservedProperty)` it names station, property and
unit; without, flag or profile states the station, and `columns: - {match: <Datastream id or name>, property: ..., unit: ...}` the rest.
`phenomenonTime` may be an instant or an interval; `resultTime` is kept; `resultQuality` is a code of the profile's `quality` or a DQ_Status
text. This file finishes with `parse`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.errors import FormatError, InputError, UnitError
from domain.model import PROPERTY_CODE, station_code
from domain.observation import NO_TIME, ParsedPayload, Rejected, SourceStream, columns
from domain.quality import Quality
from domain.units import canonical, parse_unit
from ingest.formats.decoding import head
from ingest.formats.format import ImportContext
from ingest.formats.native_json import epoch_us
from ingest.profile import ColumnRule, Profile, QualityRule

_LINK = re.compile(r"Datastreams\(('?)([^)']+)\1\)")
_QUALITY = {
    "good": Quality.GOOD,
    "unknown": Quality.UNKNOWN,
    "unchecked": Quality.UNKNOWN,
    "suspect": Quality.SUSPECT,
    "bad": Quality.FAIL,
    "fail": Quality.FAIL,
    "missing": Quality.MISSING,
}


@dataclass(slots=True)
class _Rows:
    streams: list[SourceStream] = field(default_factory=list)
    known: dict[tuple[str, ...], int] = field(default_factory=dict)
    index: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int | None] = field(default_factory=list)
    result_time: list[int | None] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    reasons: list[tuple[str, ...] | None] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that these are SensorThings observations."""
    del filename
    beginning = head(raw).lstrip()
    if not beginning.startswith(("{", "[")):
        return 0.0
    has_observations = '"phenomenonTime"' in beginning and '"result"' in beginning
    return 0.96 if has_observations or ('"dataArray"' in beginning and '"components"' in beginning) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse observations.

    Raises
    ------
    FormatError
        When the bytes are not JSON of one of the shapes.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise FormatError("the payload is not JSON.", where=context.filename, remedy="give the right --format") from fault
    rows = _Rows()
    found = False
    for line, (item, datastream) in enumerate(_observations(content, {}), start=1):
        found = True
        refusal = _append(rows, item, datastream, line, profile, context)
        if refusal is not None:
            raw_item = json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")
            rows.rejected.append(Rejected(line, refusal[0], refusal[1], raw_item))
    if not found and not (isinstance(content, Mapping) and content.get("value") == []):
        raise FormatError(
            "the JSON holds no SensorThings observation.",
            where=context.filename,
            remedy="fetch .../Observations?$expand=Datastream($expand=Thing,ObservedProperty)",
        )
    reasons = np.empty(len(rows.line), dtype=object)
    reasons[:] = rows.reasons
    built = columns(
        rows.index,
        np.array(rows.start, dtype=np.int64).astype("datetime64[us]"),
        rows.value,
        quality=rows.quality,
        line=rows.line,
        end=_moments(rows.end),
        reasons=reasons if any(rows.reasons) else None,
        result_time=_moments(rows.result_time),
    )
    notes: dict[str, Any] = {}
    if isinstance(content, Mapping) and content.get("@iot.nextLink"):
        notes["next_page"] = "the answer has further pages (@iot.nextLink), which are not in this file"
    return ParsedPayload(tuple(rows.streams), built, tuple(rows.rejected), notes)


def _moments(values: list[int | None]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    return np.array([NO_TIME if value is None else np.datetime64(value, "us") for value in values], dtype="datetime64[us]")


def _observations(
    content: Any, datastream: Mapping[str, Any], depth: int = 0
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each observation with the Datastream that is known of it."""
    if depth > 8:
        return
    if isinstance(content, list):
        for item in content:
            yield from _observations(item, datastream, depth + 1)
    if not isinstance(content, Mapping):
        return
    own = content.get("Datastream") if isinstance(content.get("Datastream"), Mapping) else None
    if isinstance(content.get("Datastreams"), list):
        for item in content["Datastreams"]:
            yield from _observations({"Thing": content, **item} if isinstance(item, Mapping) else item, datastream, depth + 1)
    elif isinstance(content.get("Observations"), list):
        yield from _observations(content["Observations"], content, depth + 1)
    elif isinstance(content.get("components"), list) and isinstance(content.get("dataArray"), list):
        link = _LINK.search(str(content.get("Datastream@iot.navigationLink", "")))
        stated = own or ({"@iot.id": link[2]} if link else {})
        names = [str(name) for name in content["components"]]
        for values in content["dataArray"]:
            row = (
                dict(zip(names, values, strict=False))
                if isinstance(values, list) and len(values) == len(names)
                else {"row": values}
            )
            yield row, stated or datastream
    elif isinstance(content.get("value"), list) and "result" not in content:
        yield from _observations(content["value"], datastream, depth + 1)
    elif depth > 0 or "phenomenonTime" in content or "result" in content:
        link = _LINK.search(str(content.get("Datastream@iot.navigationLink", "")))
        yield content, own or datastream or ({"@iot.id": link[2]} if link else {})


def _append(
    rows: _Rows,
    item: Mapping[str, Any],
    datastream: Mapping[str, Any],
    line: int,
    profile: Profile | None,
    context: ImportContext,
) -> tuple[str, str] | None:
    start, _, until = str(item.get("phenomenonTime") or item.get("resultTime") or "").partition("/")
    start_us, end_us = epoch_us(start), epoch_us(until) if until else None
    if start_us is None or (until and (end_us is None or end_us <= start_us)):
        return "time", "phenomenonTime is no time with an offset, nor an interval of two; write 2026-01-02T03:04:05Z"
    result = item.get("result")
    value = math.nan if result is None else _number(result)
    if value is None:
        return "value", "result is no finite number; other types of results are not stored"
    try:
        rule = _rule(datastream, profile)
        station = _station(datastream, profile, context)
    except InputError as fault:
        return fault.code, str(fault)
    quality = _quality(item.get("resultQuality"), profile)
    rows.index.append(_stream(rows, station, rule, datastream, profile))
    rows.start.append(start_us)
    rows.end.append(end_us)
    rows.result_time.append(epoch_us(item.get("resultTime")) if item.get("resultTime") else None)
    rows.value.append(value * rule.scale)
    rows.quality.append(int(Quality.MISSING if math.isnan(value) else quality.quality))
    rows.reasons.append(tuple(dict.fromkeys((*quality.reasons, *rule.reasons))) or None)
    rows.line.append(line)
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _rule(datastream: Mapping[str, Any], profile: Profile | None) -> ColumnRule:
    """Return what the values are: by the profile's column of the Datastream's id or name, else by its observed property's name."""
    names = [str(datastream.get(key)) for key in ("@iot.id", "name") if datastream.get(key) is not None]
    observed = datastream.get("ObservedProperty")
    called = [str(observed.get(key, "")) for key in ("name", "definition")] if isinstance(observed, Mapping) else []
    for rule in profile.columns if profile else ():
        if any(str(wanted) in {*names, *called} for wanted in rule.match):
            return rule
    for name in called:
        code = re.split(r"[/#:]", name)[-1]
        if PROPERTY_CODE.match(code):
            return ColumnRule(match=(code,), property_code=code)
    raise InputError(
        f"nothing says what Datastream {' '.join(names) or '(unnamed)'} observes.",
        remedy="map it with columns: of a profile, or fetch it with $expand=Datastream($expand=Thing,ObservedProperty)",
    )


def _station(datastream: Mapping[str, Any], profile: Profile | None, context: ImportContext) -> str:
    thing = datastream.get("Thing")
    place = profile.station if profile else None
    stated = context.station or (place.constant if place else None)
    if stated is None and isinstance(thing, Mapping):
        properties = thing.get("properties")
        own = properties.get("code") if isinstance(properties, Mapping) else None
        name = str(own or thing.get("name") or thing.get("@iot.id") or "")
        stated = (place.codes.get(name) if place else None) or name
    if not stated:
        raise InputError("nothing says which station this is.", remedy="give --station CODE, or fetch it with the Thing expanded")
    return station_code(stated)


def _stream(rows: _Rows, station: str, rule: ColumnRule, datastream: Mapping[str, Any], profile: Profile | None) -> int:
    unit = rule.unit or _unit(datastream.get("unitOfMeasurement"))
    channel = rule.channel
    if channel is None and profile is None:
        stated = datastream.get("properties")
        channel = str(stated["channel"]) if isinstance(stated, Mapping) and stated.get("channel") else None
    key = (station, rule.property_code, channel or "", unit or "")
    if key not in rows.known:
        rows.known[key] = len(rows.streams)
        name = datastream.get("name")
        rows.streams.append(
            SourceStream(
                station=station,
                property_code=rule.property_code,
                channel=channel,
                unit=unit,
                datum=rule.datum or (profile.datum if profile else None),
                name_en=str(name) if name else None,
            )
        )
    return rows.known[key]


def _unit(stated: object) -> str | None:
    """Return the UCUM code of a unitOfMeasurement: the last part of its definition, or its symbol; None where neither is known."""
    if not isinstance(stated, Mapping):
        return None
    for text in (re.split(r"[#:]|/(?=\w+$)", str(stated.get("definition") or ""))[-1], str(stated.get("symbol") or "")):
        if text.strip():
            try:
                parse_unit(text)
            except UnitError:
                continue
            return canonical(text)
    return None


def _quality(stated: object, profile: Profile | None) -> QualityRule:
    if stated is None:
        return QualityRule(Quality.GOOD)
    text = str(stated.get("code", "")) if isinstance(stated, Mapping) else str(stated)
    if profile is not None and text in profile.quality:
        return profile.quality[text]
    if text in {str(int(flag)) for flag in Quality}:
        return QualityRule(Quality(int(text)))
    known = _QUALITY.get(text.casefold())
    return QualityRule(known) if known is not None else QualityRule(Quality.UNKNOWN, ("source_flag",))
