"""Stations with the state that a map shows: worst alert, silence, newest observation. This file finishes with `show_station`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from domain.model import Datastream, Station
from service.api.access_log import note_restricted_read
from service.api.callers import Caller, MayRead
from service.api.listings import datastream_items, every_datastream, firing_alerts, statuses_of
from service.api.lookup import as_seen, container_of, may_see, node_code, visible_station
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url
from service.api.shapes import event_json, level_json, sensor_json, station_json
from service.api.silence import is_silent
from service.api.times import stamp

router = APIRouter(prefix="/api/v1", tags=["stations"])


@router.get("/stations", summary="Stations with their state", response_class=JSONResponse)
def list_stations(
    request: Request,
    caller: MayRead,
    kind: str | None = None,
    region: str | None = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give the stations that the caller may see, in the order of their codes."""
    container = container_of(request)
    place = None if after is None else decode_cursor(after)
    found: list[Station] = []
    more = True
    while more and len(found) <= limit:
        rows = container.registers.list_stations(after=place, limit=limit + 1, kind=kind, region=region)
        found += [row for row in rows if caller.audience.sees(row)]
        more = len(rows) > limit
        place = rows[-1].code if rows else place
    page = found[:limit]
    following = next_url(request, after=encode_cursor(page[-1].code)) if len(found) > limit else None
    note_restricted_read(container, caller, "list stations", page)
    return JSONResponse(listing(_with_state(container, caller, page), following))


def _with_state(container: Any, caller: Caller, stations: Sequence[Station]) -> list[dict[str, Any]]:
    now = container.clock()
    codes = {station.code for station in stations}
    own: dict[str, list[Datastream]] = defaultdict(list)
    source = (
        every_datastream(container)
        if len(codes) > 1
        else container.registers.list_datastreams(station=next(iter(codes), ""), limit=10_000)
    )
    for datastream in source:
        if datastream.station in codes and datastream.derivation is None:
            own[datastream.station].append(datastream)
    statuses = statuses_of(container, [item for items in own.values() for item in items])
    alerts: dict[str | None, list[Any]] = defaultdict(list)
    for alert in firing_alerts(container):
        alerts[alert.station].append(alert)
    node = node_code(container)
    return [
        {**station_json(as_seen(caller, station), node), **_state(own[station.code], statuses, alerts[station.code], now)}
        for station in stations
    ]


def _state(datastreams: Iterable[Datastream], statuses: Any, alerts: Sequence[Any], now: Any) -> dict[str, Any]:
    lasts = {item.code: getattr(statuses.get(item.datastream_id), "last_time", None) for item in datastreams}
    worst = max((int(alert.level) for alert in alerts), default=0)
    heard = [last for last in lasts.values() if last is not None]
    return {
        **level_json(worst),
        "acknowledged": all(alert.acknowledged_by is not None for alert in alerts) if alerts else None,
        "silent": any(is_silent(lasts[item.code], item.interval_s, now) for item in datastreams),
        "last_time": stamp(max(heard)) if heard else None,
    }


@router.get("/stations/{code}", summary="A station with its sensors, datastreams and events", response_class=JSONResponse)
def show_station(request: Request, caller: MayRead, code: str) -> JSONResponse:
    """Give one station whole."""
    container = container_of(request)
    station = visible_station(container, caller, code)
    note_restricted_read(container, caller, "read station", [station])
    datastreams = [
        item
        for item in container.registers.list_datastreams(station=station.code, limit=10_000)
        if may_see(caller, station, item)
    ]
    body = _with_state(container, caller, [station])[0]
    body["sensors"] = [sensor_json(item) for item in container.registers.sensors(station.code)]
    body["datastreams"] = datastream_items(container, caller, datastreams)
    body["events"] = [event_json(item) for item in container.registers.events(station.code)]
    return JSONResponse(body)
