"""Reads stations.yaml: stations with their sensors, datastreams and events.

This file finishes with `parse_stations`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from domain.errors import InputError
from domain.model import (
    Datastream,
    Disclosure,
    EventEffect,
    EventKind,
    Sensor,
    Station,
    StationEvent,
    StationKind,
    split_datastream_code,
)
from domain.units import convert
from service.configuration.reading import Entry, Problems
from service.configuration.sections import REGION, REGION_WORDS, entries_of, known_unit, named_station, refuse_unknown_tops

_NO_START = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(slots=True)
class StationSection:
    """All that stations.yaml registers."""

    stations: list[Station] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    datastreams: list[Datastream] = field(default_factory=list)
    events: list[StationEvent] = field(default_factory=list)


def parse_stations(content: dict[str, Any], simulated: bool, problems: Problems) -> StationSection:
    """Read stations.yaml; stations of a simulated node are simulated unless they say otherwise."""
    refuse_unknown_tops("stations.yaml", content, ("stations",), problems)
    section = StationSection()
    for entry in entries_of("stations.yaml", content, "stations", problems):
        station = _station(entry, simulated)
        section.stations.append(station)
        for below in entry.entries("sensors"):
            section.sensors.append(_sensor(below, station.code))
        for below in entry.entries("datastreams", key="property"):
            section.datastreams.append(_datastream(below, station.code))
        for below in entry.entries("events", key="kind"):
            section.events.append(_event(below, station.code))
        entry.finish()
    return section


def _station(entry: Entry, simulated: bool) -> Station:
    longitude, latitude = entry.optional_number("longitude_deg"), entry.optional_number("latitude_deg")
    if (longitude is None) != (latitude is None):
        entry.problem(
            "longitude_deg", "one coordinate stands alone.", "give longitude_deg and latitude_deg (CGCS2000), or neither"
        )
    for name, value, bound in (("longitude_deg", longitude, 180), ("latitude_deg", latitude, 90)):
        if value is not None and abs(value) > bound:
            entry.problem(name, f"{value:g} is out of bounds.", f"write decimal degrees between -{bound} and {bound}")
    return Station(
        code=named_station(entry, "code"),
        kind=entry.choice("kind", StationKind),
        name_zh=entry.text("name_zh"),
        name_en=entry.text("name_en"),
        region_code=entry.optional_text("region", pattern=REGION, meaning=REGION_WORDS),
        longitude_deg=longitude,
        latitude_deg=latitude,
        height_m=entry.optional_number("height_m"),
        disclosure=entry.choice("disclosure", Disclosure, default=Disclosure.RESTRICTED),
        zone_code=entry.optional_text("zone"),
        tags=entry.words("tags"),
        simulated=entry.flag("simulated", default=simulated),
        attributes=entry.mapping("attributes"),
    )


def _sensor(entry: Entry, station: str) -> Sensor:
    sensor = Sensor(
        station=station,
        code=entry.text("code"),
        model=entry.optional_text("model"),
        serial=entry.optional_text("serial"),
        calibrated_on=entry.optional_day("calibrated_on"),
        calibration_due=entry.optional_day("calibration_due"),
        calibration=entry.mapping("calibration"),
        datum_code=entry.optional_text("datum"),
        installed_at=entry.optional_moment("installed_at"),
        removed_at=entry.optional_moment("removed_at"),
    )
    entry.finish()
    return sensor


def _datastream(entry: Entry, station: str) -> Datastream:
    disclosure = entry.choice("disclosure", Disclosure) if entry.raw("disclosure") is not None else None
    top, bottom = entry.optional_number("depth_top_m"), entry.optional_number("depth_bottom_m")
    if top is not None and bottom is not None and top >= bottom:
        entry.problem("depth_bottom_m", "is not below depth_top_m.", "depths count downward from the surface")
    datastream = Datastream(
        station=station,
        property_code=entry.text("property"),
        unit=known_unit(entry, entry.text("unit")),
        channel=entry.optional_text("channel", pattern=r"[\w.\-]{1,64}", meaning="letters, digits, '.', '_' or '-'"),
        sensor=entry.optional_text("sensor"),
        name_zh=entry.optional_text("name_zh"),
        name_en=entry.optional_text("name_en"),
        interval_s=_interval(entry),
        depth_top_m=top,
        depth_bottom_m=bottom,
        aquifer=entry.optional_text("aquifer"),
        datum_code=entry.optional_text("datum"),
        datum_epoch=entry.optional_day("datum_epoch"),
        frame=entry.optional_text("frame"),
        disclosure=disclosure,
        lowest=entry.optional_number("lowest"),
        highest=entry.optional_number("highest"),
        attributes=entry.mapping("attributes"),
    )
    entry.finish()
    return datastream


def _interval(entry: Entry) -> float | None:
    text = entry.optional_text("interval", pattern=r"[0-9.]+ ?(s|min|h|d|a)", meaning="a number with s, min, h, d or a, e.g. 4 h")
    if text is None:
        return None
    number = text.rstrip("sminhda ")
    seconds = convert(float(number), text[len(number) :].strip(), "s")
    if seconds <= 0:
        entry.problem("interval", "is not greater than 0.", "write the sampling interval, e.g. 4 h")
        return None
    return seconds


def _event(entry: Entry, station: str) -> StationEvent:
    start = entry.optional_moment("start", required=True)
    end = entry.optional_moment("end")
    datastream = entry.optional_text("datastream")
    if datastream is not None:
        try:
            split_datastream_code(datastream)
        except InputError as error:
            entry.problem("datastream", error.what, error.remedy or "correct the code")
    if start is not None and end is not None and end < start:
        entry.problem("end", "is before start.", "correct the time span")
    event_kind = entry.choice("kind", EventKind)
    effect = entry.choice("effect", EventEffect, default=EventEffect.NONE)
    size, note, author = entry.optional_number("size"), entry.optional_text("note"), entry.optional_text("author")
    entry.finish()
    # A missing start is already a recorded problem, so the placeholder is never applied.
    return StationEvent(station, event_kind, start or _NO_START, end, effect, datastream, size, note, author)
