"""The node itself, the registers that name things (properties, regions) and the morning's summary. This file finishes with `summary`."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request

from domain.alert import Level
from domain.alerting import AlertRecord
from service.api.callers import MayRead
from service.api.listings import every_datastream, every_station, firing_alerts, statuses_of
from service.api.lookup import container_of, node_code, visible_station
from service.api.parameters import listing
from service.api.permissions import Permission
from service.api.shapes import property_json, sensor_json
from service.api.silence import is_silent
from service.api.times import plain, stamp

router = APIRouter(prefix="/api/v1", tags=["node"])
_MAP = ("center", "zoom", "tile_url", "tile_attribution", "boundary")


@router.get("/node", summary="Who this node is: names, zone, map, and whether its ground is simulated")
def show_node(request: Request) -> dict[str, Any]:
    """Give what the page shell needs before a login; nothing that is measured."""
    container = container_of(request)
    node = container.registers.node()
    attributes = {} if node is None else dict(node.attributes)
    chart = {**dict.fromkeys(_MAP), **dict(attributes.get("map") or {})}
    return {
        "code": node_code(container),
        "name_zh": "未配置" if node is None else node.name_zh,
        "name_en": "not configured" if node is None else node.name_en,
        "region_code": None if node is None else node.region_code,
        "zone": "Asia/Shanghai" if node is None else node.zone,
        "simulated": False if node is None else node.simulated,
        "demo": container.settings.demo,
        "version": version("groundwatch"),
        "now": stamp(container.clock()),
        "map": plain(chart),
    }


@router.get("/properties", summary="Observed properties: unit, sign, plausible range")
def list_properties(request: Request, caller: MayRead) -> dict[str, Any]:
    """Give every observed property of the node."""
    return listing([property_json(item) for item in container_of(request).registers.list_properties()], None)


@router.get("/regions", summary="Administrative regions (GB/T 2260)")
def list_regions(request: Request, caller: MayRead) -> dict[str, Any]:
    """Give every region of the node."""
    items = [
        {"code": item.code, "name_zh": item.name_zh, "name_en": item.name_en, "parent_code": item.parent_code}
        for item in container_of(request).registers.regions()
    ]
    return listing(items, None)


@router.get("/sensors", summary="Sensors of a station")
def list_sensors(request: Request, caller: MayRead, station: str) -> dict[str, Any]:
    """Give the instruments of a station with what proves their numbers."""
    container = container_of(request)
    found = visible_station(container, caller, station)
    return listing([sensor_json(item) for item in container.registers.sensors(found.code)], None)


@router.get("/summary", summary="What a supervisor wants to know first")
def summary(request: Request, caller: MayRead) -> dict[str, Any]:
    """Count stations, datastreams, silent ones, firing alerts by colour and what waits in quarantine."""
    container = container_of(request)
    now = container.clock()
    stations = {item.code: item for item in every_station(container) if caller.audience.sees(item)}
    datastreams = [item for item in every_datastream(container) if item.station in stations and item.derivation is None]
    statuses = statuses_of(container, datastreams)
    silent = sum(
        is_silent(getattr(statuses.get(item.datastream_id), "last_time", None), item.interval_s, now) is True
        for item in datastreams
    )
    firing = [
        alert
        for alert in firing_alerts(container)
        if alert.station in stations or (alert.station is None and caller.stations is None)
    ]
    levels = Counter(int(alert.level) for alert in firing)
    colours = {level.word: levels[int(level)] for level in reversed(Level) if level is not Level.NONE}
    waiting = len(container.observations.quarantined(limit=10_000)) if caller.may(Permission.READ_QUARANTINE) else None
    return {
        "now": stamp(now),
        "stations": len(stations),
        "datastreams": len(datastreams),
        "silent": silent,
        "alerts": {**colours, "unacknowledged": sum(_waits_for_answer(alert) for alert in firing)},
        "quarantine": waiting,
    }


def _waits_for_answer(alert: AlertRecord) -> bool:
    """Has nobody taken notice of it as bad as it is?"""
    return alert.acknowledged_by is None or "unanswered_since" in alert.memory
