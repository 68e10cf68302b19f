"""What persons say of observations' quality, and the health of stations. This file finishes with `health_json`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import NotFoundError
from domain.model import Station
from domain.quality import REASONS
from service.api.callers import Caller, MayOverrideQuality, MayRead
from service.api.lookup import container_of, may_see, visible_datastream, visible_station
from service.api.parameters import (
    DEFAULT,
    After,
    Limit,
    decode_cursor,
    decode_number,
    encode_cursor,
    listing,
    next_url,
    parse_time,
)
from service.api.times import number, stamp
from service.quality.health import StationHealth, board, station_health
from service.quality.overriding import override, withdraw

router = APIRouter(prefix="/api/v1", tags=["quality"])
Hours = Annotated[int, Query(ge=1, le=24 * 31, description="Length of the window that ends now.")]


class NewOverride(BaseModel):
    """What a person says of observations; the name is the caller's."""

    model_config = ConfigDict(extra="forbid")
    datastream: str
    start: str = Field(alias="from", description="Inclusive; RFC 3339 with an offset.")
    end: str | None = Field(default=None, alias="to", description="Exclusive; without it the one observation at `from`.")
    quality: Literal["good", "unknown", "suspect", "fail"]
    reason: str = Field(min_length=1, max_length=2000)


@router.post("/observations/overrides", status_code=201, summary="Set the quality of observations, with name and reason")
def add_override(request: Request, caller: MayOverrideQuality, said: Annotated[NewOverride, Body()]) -> dict[str, Any]:
    """Record and apply an override: it goes before every test, survives them, and never changes a result."""
    container = container_of(request)
    found = visible_datastream(container, caller, said.datastream)
    start = parse_time(said.start, "from")
    end = None if said.end is None else parse_time(said.end, "to")
    applied = override(container, found.key, start, end, said.quality, said.reason, caller.actor)
    return {"id": applied.override_id, "datastream": found.datastream.code, "changed": applied.changed, "actor": caller.actor}


@router.get("/observations/overrides", summary="Overrides of a datastream, oldest first")
def list_overrides(
    request: Request,
    caller: MayRead,
    datastream: Annotated[str, Query(description="Code of the datastream.")],
    withdrawn: Annotated[bool, Query(description="Also those taken back.")] = False,
    limit: Limit = DEFAULT,
    after: After = None,
) -> dict[str, Any]:
    """Give what persons said, with their names and reasons."""
    container = container_of(request)
    found = visible_datastream(container, caller, datastream)
    rows = container.quality.overrides(found.key, decode_number(after) or 0, limit + 1, withdrawn=withdrawn)
    items = [
        {
            "id": row.id,
            "datastream": row.datastream,
            "from": stamp(row.time_from),
            "to": stamp(row.time_to),
            "quality": row.quality,
            "reason": row.reason,
            "actor": row.actor,
            "recorded_at": stamp(row.recorded_at),
            "withdrawn_at": stamp(row.withdrawn_at),
            "withdrawn_by": row.withdrawn_by,
        }
        for row in rows[:limit]
    ]
    following = next_url(request, after=encode_cursor(str(items[-1]["id"]))) if len(rows) > limit else None
    return listing(items, following)


@router.delete("/observations/overrides/{override_id}", summary="Take an override back")
def withdraw_override(request: Request, caller: MayOverrideQuality, override_id: int) -> dict[str, Any]:
    """Take an override back: it stays on record, and the tests' own flags stand again."""
    container = container_of(request)
    standing = container.quality.overrides(after=override_id - 1, limit=1)
    if not standing or standing[0].id != override_id:
        raise NotFoundError(
            f"there is no override {override_id} that stands.", where="override_id", remedy="list those of its datastream"
        )
    visible_datastream(container, caller, standing[0].datastream)
    applied = withdraw(container, override_id, caller.actor)
    return {"id": applied.override_id, "changed": applied.changed}


@router.get("/health", summary="Health of every station: last seen, completeness, battery, signal")
def list_health(
    request: Request, caller: MayRead, hours: Hours = 24, limit: Limit = DEFAULT, after: After = None
) -> dict[str, Any]:
    """Give the health board, a page of stations in the order of their codes."""
    container = container_of(request)
    place = None if after is None else decode_cursor(after)
    seen: list[str] = []
    more = True
    while more and len(seen) <= limit:
        rows = container.registers.list_stations(after=place, limit=limit + 1)
        seen += [row.code for row in rows if caller.audience.sees(row)]
        more = len(rows) > limit
        place = rows[-1].code if rows else place
    now = container.clock()
    items = [health_json(item) for item in board(container, seen[:limit], now, timedelta(hours=hours))]
    following = next_url(request, after=encode_cursor(seen[limit - 1])) if len(seen) > limit else None
    return listing(items, following, hours=hours)


@router.get("/stations/{code}/health", summary="Health of a station with its datastreams, clock and flags")
def show_health(request: Request, caller: MayRead, code: str, hours: Hours = 24) -> dict[str, Any]:
    """Give one station's health."""
    container = container_of(request)
    station = visible_station(container, caller, code)
    health = station_health(container, station.code, container.clock(), timedelta(hours=hours))
    streams = [
        {
            "datastream": item.datastream,
            "last_time": stamp(item.last_time),
            "last_received_at": stamp(item.last_received_at),
            "expected": number(item.expected),
            "received": item.received,
            "usable": item.usable,
            "completeness_percent": number(item.completeness_percent),
            "silent": item.silent,
        }
        for item in health.datastreams
        if _visible(container, caller, station, item.datastream)
    ]
    return {
        **health_json(health),
        "reasons": [{"code": name, "observations": n, "meaning": REASONS.get(name)} for name, n in health.reasons.items()],
        "datastreams": streams,
    }


def _visible(container: Any, caller: Caller, station: Station, code: str) -> bool:
    datastream = container.registers.datastream(code)
    return datastream is not None and may_see(caller, station, datastream)


def health_json(health: StationHealth) -> dict[str, Any]:
    """Return a station's line on the board; `drift` is null where no property is looked at."""
    clock, drift = health.clock, health.drift
    return {
        "station": health.station,
        "state": health.state.value,
        "last_seen": stamp(health.last_seen),
        "last_received_at": stamp(health.last_received_at),
        "completeness_percent": number(health.completeness_percent),
        "usable_percent": number(health.usable_percent),
        "battery_v": number(health.battery_v),
        "signal": number(health.signal),
        "clock_offset_s": None if clock is None else number(clock.offset_s),
        "clock_drift_s_per_d": None if clock is None else number(clock.drift_s_per_d),
        "drift": None
        if drift is None
        else {
            "state": drift.found.state.value,
            "datastream": drift.datastream,
            "unit": drift.unit,
            "rate_per_30d": number(drift.found.rate_per_30d),
            "half_width_95": number(drift.found.half_width),
            "neighbours": drift.found.neighbours,
            "doubt": None if drift.found.doubt is None else drift.found.doubt.value,
        },
        "quarantined": health.quarantined,
        "findings": health.findings,
        "doubtful": sum(stream.received - stream.usable for stream in health.datastreams),
    }
