"""WaterML: 2.0 time-value pairs (OGC 10-126r4), 1.1 XML, and the JSON of 1.1 that the USGS serves.

The observed property is looked up in the profile's `parameters` by its code (`parmCd=00060`, the last part of its address) or its title; a
name that is a property code maps itself. Days without time are days of the declared zone, and a mean of them covers its day. A unit
that is stated and known holds, else the profile's. This file finishes with `parse`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.errors import FormatError, UnitError
from domain.model import PROPERTY_CODE, ValueKind
from domain.observation import NO_TIME, Columns, ParsedPayload, Rejected, SourceStream, TimeArray, columns, concatenate
from domain.quality import Quality
from domain.units import canonical, parse_unit
from ingest.formats.decoding import head, is_number
from ingest.formats.format import ImportContext
from ingest.formats.timestamps import localise, parse_times, parse_zone
from ingest.formats.xml_tree import Node, read_xml
from ingest.profile import ColumnRule, Profile, QualityRule

_WATERML_2 = b"http://www.opengis.net/waterml/2.0"
_WATERML_1 = b"http://www.cuahsi.org/waterML/1.1"
_JSON_TYPE = b"org.cuahsi.waterml.TimeSeriesResponseType"
_MEAN = frozenset({"00003", "mean", "average"})
_NO_STATISTIC = frozenset({"", "00000", "00003"})
_CODE = re.compile(r"(?:parmCd=|[/#:])([^/#:=&]+)$")
_UNITS = {"deg c": "Cel", "us/cm @25c": "uS/cm", "std units": "[pH]", "tons/day": "[ston_av]/d", "degc": "Cel"}
_QUALITY = {
    "good": QualityRule(Quality.GOOD),
    "suspect": QualityRule(Quality.SUSPECT, ("source_flag",)),
    "estimate": QualityRule(Quality.GOOD, ("estimated",)),
    "poor": QualityRule(Quality.SUSPECT, ("source_flag",)),
    "unchecked": QualityRule(Quality.UNKNOWN),
    "missing": QualityRule(Quality.MISSING),
}
"""Quality of WaterML 2.0 (OGC 10-126r4, table of quality codes)."""


@dataclass(frozen=True, slots=True)
class _Point:
    time: str
    value: str | None
    marks: tuple[str, ...]
    line: int


@dataclass(slots=True)
class _Series:
    """One time series as the document has it."""

    site: str
    name: str | None
    place: tuple[float, float] | None
    codes: tuple[str, ...]
    unit: str | None
    is_mean: bool
    missing: str | None = None
    method: str | None = None
    statistic: str | None = None
    points: list[_Point] = field(default_factory=list)


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is WaterML."""
    del filename
    beginning = raw[:8192]
    if _JSON_TYPE in beginning:
        return 1.0
    return 0.98 if head(raw, 200).lstrip().startswith("<") and (_WATERML_2 in beginning or _WATERML_1 in beginning) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse every time series of a document whose property is known.

    Raises
    ------
    FormatError
        When it is no WaterML, or none of its properties is known.
    """
    series = list(_json_series(raw, context)) if _JSON_TYPE in raw[:8192] else list(_xml_series(raw, context))
    streams: list[SourceStream] = []
    parts: list[Columns] = []
    rejected: list[Rejected] = []
    unknown: list[str] = []
    rules = [(entry, _rule(entry, profile)) for entry in series]
    methods = {(entry.site, rule.property_code): set[str | None]() for entry, rule in rules if rule is not None}
    for entry, rule in rules:
        if rule is not None:
            methods[entry.site, rule.property_code].add(entry.method)
    for entry, rule in rules:
        if rule is None:
            unknown += [code for code in entry.codes[:1] if entry.points]
        elif entry.points:
            several = len(methods[entry.site, rule.property_code]) > 1
            channel = entry.method if several else f"stat{entry.statistic}" if entry.statistic else rule.channel
            streams.append(_stream(entry, rule, channel, profile, context))
            parts.append(_columns(entry, rule, len(streams) - 1, profile, context, rejected))
    if not streams and not (series and not any(entry.points for entry in series)):
        raise FormatError(
            f"no observed property of the document ({', '.join(sorted(set(unknown))) or 'none found'}) is in the profile.",
            where=context.filename,
            remedy="add it under parameters: of a copy of profile usgs_waterml",
        )
    notes: dict[str, Any] = {"parameters_not_stored": sorted(set(unknown))} if unknown else {}
    return ParsedPayload(tuple(streams), concatenate(parts), tuple(rejected), notes)


def _rule(series: _Series, profile: Profile | None) -> ColumnRule | None:
    for code in series.codes:
        rule = profile.parameters.get(code) if profile else None
        if rule is not None:
            return rule
    own = next((code for code in series.codes if PROPERTY_CODE.match(code)), None)
    return ColumnRule(match=(own,), property_code=own) if own is not None else None


def _stream(
    series: _Series, rule: ColumnRule, channel: str | None, profile: Profile | None, context: ImportContext
) -> SourceStream:
    place = profile.station if profile else None
    code = (
        context.station or (place.constant if place else None) or (place.codes.get(series.site) if place else None) or series.site
    )
    longitude, latitude = series.place if series.place is not None else (None, None)
    return SourceStream(
        station=code,
        property_code=rule.property_code,
        channel=channel,
        unit=_unit(series.unit) or rule.unit,
        datum=rule.datum or (profile.datum if profile else None),
        kind=place.kind if place else None,
        name_zh=series.name,
        name_en=series.name,
        longitude_deg=longitude,
        latitude_deg=latitude,
        interval_s=86400.0 if series.is_mean else rule.interval_s,
    )


def _unit(text: str | None) -> str | None:
    """Return the UCUM code of a stated unit, None where it is not known."""
    if not text:
        return None
    code = _UNITS.get(text.strip().casefold()) or canonical(text)
    try:
        parse_unit(code)
    except UnitError:
        return None
    return code


def _columns(
    series: _Series, rule: ColumnRule, stream: int, profile: Profile | None, context: ImportContext, rejected: list[Rejected]
) -> Columns:
    zone_name = context.zone or (profile.time.zone if profile else None)
    zone = parse_zone(zone_name, where=context.filename) if zone_name else None
    time, _ = parse_times(np.array([p.time for p in series.points], dtype=object), ("iso",), zone, where=context.filename)
    is_mean = series.is_mean or rule.value_kind is ValueKind.MEAN
    end = np.full(len(time), NO_TIME)
    midnight = np.array([p.time.strip()[11:] in {"", "00:00:00", "00:00:00.000"} for p in series.points], dtype=bool)
    whole_days = midnight & is_mean & ~np.isnat(time)
    if whole_days.any() and zone is not None:
        end[whole_days] = _next_midnight([p.time for p, day in zip(series.points, whole_days, strict=True) if day], zone)
    keep: list[int] = []
    values, flags, reasons = [], [], []
    for i, point in enumerate(series.points):
        fault = _fault(point, bool(np.isnat(time[i])))
        if fault is not None:
            rejected.append(Rejected(point.line, fault[0], fault[1], f"{point.time} {point.value}".encode()))
            continue
        missing = point.value is None or (series.missing is not None and _same(point.value, series.missing))
        quality = _quality(point.marks, profile)
        keep.append(i)
        values.append(float("nan") if missing else float(point.value or "nan") * rule.scale)
        flags.append(int(Quality.MISSING if missing else quality.quality))
        reasons.append(tuple(dict.fromkeys((*quality.reasons, *rule.reasons))) or None)
    column = np.empty(len(keep), dtype=object)
    column[:] = reasons
    return columns(
        stream,
        time[keep],
        values,
        quality=flags,
        line=[series.points[i].line for i in keep],
        end=end[keep],
        reasons=column if any(reasons) else None,
    )


def _next_midnight(days: list[str], zone: Any) -> TimeArray:
    after = np.array([np.datetime64(day.strip()[:10], "D") for day in days]) + np.timedelta64(1, "D")
    return localise(np.asarray(after, dtype="datetime64[us]"), zone, whole_days=True)


def _fault(point: _Point, is_undated: bool) -> tuple[str, str] | None:
    if is_undated:
        return "time", f"{point.time!r} is no time, or does not exist in the zone; write ISO 8601 with an offset"
    if point.value is not None and not (is_number(point.value) and np.isfinite(float(point.value))):
        return "value", f"{point.value!r} is no number; correct it"
    return None


def _same(text: str, marker: str) -> bool:
    return is_number(text) and is_number(marker) and float(text) == float(marker)


def _quality(marks: tuple[str, ...], profile: Profile | None) -> QualityRule:
    """Return what the marks of a point mean together: the worst flag, and every reason."""
    if not marks:
        return QualityRule(Quality.GOOD)
    joined = " ".join(marks)
    known = profile.quality if profile else {}
    if joined in known:
        return known[joined]
    rules = [known.get(mark) or _QUALITY.get(mark.casefold()) or _said(mark) for mark in marks]
    worst = max(rules, key=lambda rule: (rule.quality is Quality.MISSING, rule.quality))
    return QualityRule(worst.quality, tuple(dict.fromkeys(reason for rule in rules for reason in rule.reasons)))


def _said(mark: str) -> QualityRule:
    provisional = "provisional" in mark.casefold()
    return QualityRule(Quality.UNKNOWN, ("provisional" if provisional else "source_flag",))


def _xml_series(raw: bytes, context: ImportContext) -> Iterator[_Series]:
    root = read_xml(raw, where=context.filename)
    if any(True for _ in root.every("timeSeries")) or root.name == "timeSeriesResponse":
        for node in root.every("timeSeries"):
            yield from _series_1(node)
        return
    observations = list(root.every("OM_Observation")) or ([root] if root.name == "OM_Observation" else [])
    if not observations:
        raise FormatError("the document holds no observation.", where=context.filename, remedy="give the right --format")
    for node in observations:
        yield _series_2(node, root, context)


def _series_2(node: Node, root: Node, context: ImportContext) -> _Series:
    """Read one OM_Observation of WaterML 2.0."""
    site = node.first("MonitoringPoint") or node.first("featureOfInterest")
    observed = node.first("observedProperty")
    address, title = (observed.attributes.get("href", ""), observed.attributes.get("title", "")) if observed else ("", "")
    code = _CODE.search(address)
    default = node.first("defaultPointMetadata")
    uom = (default.first("uom") if default else None) or node.first("uom")
    kind = (default.first("interpolationType") if default else None) or node.first("interpolationType")
    averaged = "average" in (kind.attributes.get("href", "") + kind.attributes.get("title", "")).casefold() if kind else False
    statistics = {name.attributes.get("title", "").casefold() for name in node.every("name")}
    place = site.words("pos") if site else None
    identifier = _site_code(node, root) or context.station
    if identifier is None:
        raise FormatError("an observation names no monitoring point.", where=context.filename, remedy="give --station CODE")
    series = _Series(
        site=identifier,
        name=(node.first("featureOfInterest") or node).attributes.get("title"),
        place=_place(place.split()) if place else None,
        codes=tuple(part for part in (code[1] if code else "", title, observed.text.strip() if observed else "") if part),
        unit=(uom.attributes.get("code") or uom.attributes.get("title")) if uom else None,
        is_mean=averaged or bool(statistics & _MEAN),
        method=node.attributes.get("id"),
    )
    common = _marks(default) if default else ()
    for pair in node.every("MeasurementTVP"):
        time = pair.words("time")
        if time is not None:
            series.points.append(_Point(time, pair.words("value"), _marks(pair) or common, pair.line))
    return series


def _site_code(observation: Node, root: Node) -> str | None:
    """Return the code of the monitoring point: its identifier, the site of its description, the collection's identifier, else its id."""
    site, feature = observation.first("MonitoringPoint"), observation.first("featureOfInterest")
    described = site.first("descriptionReference") if site else None
    query = re.search(r"sites=(\w+)", described.attributes.get("href", "")) if described else None
    collection = next((child.text.strip() for child in root.children if child.name == "identifier"), "")
    named = (
        (site.words("identifier") if site else None)
        or (query[1] if query else None)
        or collection
        or (site.attributes.get("id") if site else None)
        or (feature.attributes.get("href") if feature else None)
    )
    return re.split(r"[/#:]", named)[-1].removeprefix("USGS.") or None if named else None


def _marks(node: Node) -> tuple[str, ...]:
    marks = [entry for name in ("quality", "qualifier") for entry in node.every(name)]
    found = []
    for mark in marks:
        address = mark.attributes.get("href", "")
        found.append(mark.words("value") or (re.split(r"[/#]", address)[-1] if address else mark.attributes.get("title", "")))
    return tuple(mark for mark in found if mark)


def _place(parts: list[str]) -> tuple[float, float] | None:
    """Return longitude and latitude of `latitude longitude`."""
    if len(parts) < 2 or not all(map(is_number, parts[:2])):
        return None
    return (float(parts[1]), float(parts[0])) if abs(float(parts[0])) <= 90 and abs(float(parts[1])) <= 180 else None


def _series_1(node: Node) -> Iterator[_Series]:
    """Read one timeSeries of WaterML 1.1."""
    source, variable = node.first("sourceInfo"), node.first("variable")
    if source is None or variable is None:
        return
    statistic = next(
        (o.attributes.get("optionCode", "") for o in variable.every("option") if o.attributes.get("name") == "Statistic"), ""
    )
    latitude, longitude = source.words("latitude"), source.words("longitude")
    for number, values in enumerate(node.every("values")):
        method = values.first("method")
        yield _Series(
            site=source.words("siteCode") or "",
            name=source.words("siteName"),
            place=_place([latitude, longitude]) if latitude and longitude else None,
            codes=tuple(filter(None, (variable.words("variableCode"), variable.words("variableName")))),
            unit=variable.words("unitCode"),
            is_mean=statistic in _MEAN,
            missing=variable.words("noDataValue"),
            statistic=None if statistic in _NO_STATISTIC else statistic,
            method=(method.attributes.get("methodID") if method else None) or str(number),
            points=[
                _Point(
                    v.attributes.get("dateTime", ""),
                    v.text.strip() or None,
                    tuple(v.attributes.get("qualifiers", "").split()),
                    v.line,
                )
                for v in values.every("value")
            ],
        )


def _json_series(raw: bytes, context: ImportContext) -> Iterator[_Series]:
    try:
        content = json.loads(raw)
        for node in content["value"]["timeSeries"]:
            yield from _series_of_json(node)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as fault:
        raise FormatError(
            f"the JSON is no WaterML response ({fault!r}).", where=context.filename, remedy="fetch it again"
        ) from fault


def _series_of_json(node: Mapping[str, Any]) -> Iterator[_Series]:
    source, variable = node["sourceInfo"], node["variable"]
    options = {option.get("name"): option.get("optionCode") for option in variable["options"]["option"]}
    position = source["geoLocation"]["geogLocation"]
    line = 0
    for number, values in enumerate(node["values"]):
        methods = values.get("method") or [{}]
        series = _Series(
            site=str(source["siteCode"][0]["value"]),
            name=str(source["siteName"]),
            place=_place([str(position["latitude"]), str(position["longitude"])]),
            codes=(str(variable["variableCode"][0]["value"]), html.unescape(str(variable.get("variableName", "")))),
            unit=str(variable["unit"]["unitCode"]),
            is_mean=options.get("Statistic") in _MEAN,
            missing=str(variable.get("noDataValue", "")),
            statistic=None if options.get("Statistic") in _NO_STATISTIC else options.get("Statistic"),
            method=str(methods[0].get("methodID", number)),
        )
        for point in values["value"]:
            line += 1
            marks = tuple(str(mark) for mark in point.get("qualifiers", ()))
            series.points.append(_Point(str(point["dateTime"]), str(point["value"]), marks, line))
        yield series
