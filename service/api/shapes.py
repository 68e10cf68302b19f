"""JSON shapes of the registers: station, sensor, property, datastream, event. One function a noun, no queries.

This file finishes with `event_json`.
"""

from __future__ import annotations

from typing import Any

from domain.alert import Level
from domain.model import Datastream, ObservedProperty, Sensor, Station, StationEvent
from service.api.times import day, number, plain, stamp


def station_json(station: Station, node_code: str) -> dict[str, Any]:
    """Return the register's part of a station; `with_state` adds what changes."""
    return {
        "code": station.code,
        "urn": f"urn:groundwatch:{node_code}:{station.code}",
        "kind": station.kind.value,
        "name_zh": station.name_zh,
        "name_en": station.name_en,
        "region_code": station.region_code,
        "longitude_deg": station.longitude_deg,
        "latitude_deg": station.latitude_deg,
        "height_m": station.height_m,
        "disclosure": station.disclosure.value,
        "zone_code": station.zone_code,
        "tags": list(station.tags),
        "confirmed": station.confirmed,
        "simulated": station.simulated,
        "attributes": plain(dict(station.attributes)),
    }


def level_json(level: int) -> dict[str, Any]:
    """Return a level as number and word."""
    return {"level": int(level), "level_word": Level(level).word}


def sensor_json(sensor: Sensor) -> dict[str, Any]:
    """Return a sensor."""
    return {
        "station": sensor.station,
        "code": sensor.code,
        "model": sensor.model,
        "serial": sensor.serial,
        "calibrated_on": day(sensor.calibrated_on),
        "calibration_due": day(sensor.calibration_due),
        "calibration": plain(dict(sensor.calibration)),
        "datum": sensor.datum_code,
        "installed_at": stamp(sensor.installed_at),
        "removed_at": stamp(sensor.removed_at),
    }


def property_json(observed: ObservedProperty) -> dict[str, Any]:
    """Return an observed property."""
    return {
        "code": observed.code,
        "name_zh": observed.name_zh,
        "name_en": observed.name_en,
        "unit": observed.unit,
        "direction": observed.direction,
        "value_kind": observed.value_kind.value,
        "needs_datum": observed.needs_datum,
        "lowest": observed.lowest,
        "highest": observed.highest,
    }


def datastream_json(datastream: Datastream, observed: ObservedProperty, source_code: str | None) -> dict[str, Any]:
    """Return a datastream with its property's names and sign; `source_code` names what a derived one is made from."""
    made = datastream.derivation
    derivation = None
    if made is not None:
        derivation = {
            "method": made.method,
            "version": made.version,
            "parameters": plain(dict(made.parameters)),
            "input_digest": made.input_digest,
            "source": source_code,
        }
    return {
        "code": datastream.code,
        "station": datastream.station,
        "property": datastream.property_code,
        "property_name_zh": observed.name_zh,
        "property_name_en": observed.name_en,
        "direction": observed.direction,
        "value_kind": observed.value_kind.value,
        "name_zh": datastream.name_zh,
        "name_en": datastream.name_en,
        "unit": datastream.unit,
        "channel": datastream.channel,
        "sensor": datastream.sensor,
        "interval_s": datastream.interval_s,
        "depth_top_m": datastream.depth_top_m,
        "depth_bottom_m": datastream.depth_bottom_m,
        "aquifer": datastream.aquifer,
        "datum": datastream.datum_code,
        "datum_epoch": day(datastream.datum_epoch),
        "frame": datastream.frame,
        "derived": made is not None,
        "derivation": derivation,
        "disclosure": datastream.disclosure.value if datastream.disclosure else None,
        "confirmed": datastream.confirmed,
        "lowest": datastream.lowest,
        "highest": datastream.highest,
        "attributes": plain(dict(datastream.attributes)),
    }


def status_json(status: Any | None) -> dict[str, Any]:
    """Return the newest observation and the counts of a datastream; all null and 0 where nothing came yet."""
    if status is None:
        empty = ("first_time", "last_time", "last_result", "last_quality", "last_received_at")
        return {**dict.fromkeys(empty), "observations": 0}
    return {
        "first_time": stamp(status.first_time),
        "last_time": stamp(status.last_time),
        "last_result": number(status.last_result),
        "last_quality": status.last_quality,
        "last_received_at": stamp(status.last_received_at),
        "observations": status.observations,
    }


def event_json(event: StationEvent) -> dict[str, Any]:
    """Return an entry of a station's event log."""
    return {
        "id": event.event_id,
        "station": event.station,
        "datastream": event.datastream,
        "kind": event.kind.value,
        "start": stamp(event.start),
        "end": stamp(event.end),
        "effect": event.effect.value,
        "size": number(event.size),
        "note": event.note,
        "author": event.author,
    }
