"""Datastreams, and what the analytics say of them. This file finishes with `show_scenario`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from domain.model import Datastream
from service.api.access_log import note_restricted_read
from service.api.callers import MayRead
from service.api.curves import curve_of, results_by_role, without_levels
from service.api.listings import datastream_items
from service.api.lookup import container_of, may_see, readable_datastream, visible_datastream, visible_station
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url
from service.api.reading import scale_for
from service.api.times import plain, stamp
from service.scenarios import scenario_of
from service.sharing.disclosure import HeightView

router = APIRouter(prefix="/api/v1", tags=["datastreams"])


@router.get("/datastreams", summary="Datastreams with their status", response_class=JSONResponse)
def list_datastreams(
    request: Request,
    caller: MayRead,
    station: str | None = None,
    observed_property: Annotated[str | None, Query(alias="property")] = None,
    derived: bool | None = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give the datastreams that the caller may see, in the order of their codes."""
    container = container_of(request)
    if station is not None:
        station = visible_station(container, caller, station).code
    place = None if after is None else decode_cursor(after)
    found: list[Datastream] = []
    more = True
    while more and len(found) <= limit:
        rows = container.registers.list_datastreams(
            station=station, property_code=observed_property, after=place, limit=limit + 1, derived=derived
        )
        for row in rows:
            owner = container.registers.station(row.station)
            if owner is not None and may_see(caller, owner, row):
                found.append(row)
        more = len(rows) > limit
        place = rows[-1].code if rows else place
    page = found[:limit]
    following = next_url(request, after=encode_cursor(page[-1].code)) if len(found) > limit else None
    return JSONResponse(listing(datastream_items(container, caller, page), following))


@router.get("/datastreams/{code}", summary="One datastream", response_class=JSONResponse)
def show_datastream(request: Request, caller: MayRead, code: str) -> JSONResponse:
    """Give one datastream with its status."""
    container = container_of(request)
    found = visible_datastream(container, caller, code)
    return JSONResponse(datastream_items(container, caller, [found.datastream])[0])


@router.get(
    "/datastreams/{code}/results",
    summary="Velocity, seasonal terms, forecast, fitted curve and band",
    response_class=JSONResponse,
)
def show_results(
    request: Request,
    caller: MayRead,
    code: str,
    points: Annotated[int, Query(ge=2, le=2000, description="Points of the curve.")] = 400,
    horizon_a: Annotated[float, Query(ge=0, le=30, description="Years of forecast beyond the last observation.")] = 5.0,
) -> JSONResponse:
    """Give the newest run of each method; the curve and its band are recomputed from the run."""
    container = container_of(request)
    found = readable_datastream(container, caller, code)
    scale = scale_for(container, found, None)
    note_restricted_read(container, caller, "read results", [found.station], found.datastream)
    runs = container.analyses.latest_runs(found.key)
    derived = [
        item.code
        for item in container.registers.list_datastreams(station=found.station.code, derived=True, limit=10_000)
        if item.derivation is not None and item.derivation.source_datastream_id == found.key
    ]
    # The fitted parameters and the limits of an absolute height tell it, whatever the observations are relative to.
    is_told = found.heights is HeightView.AS_STORED
    roles = results_by_role(runs, found.datastream.unit)
    limits = container.registers.limits(found.datastream, found.station) if is_told else []
    body = {
        "datastream": found.datastream.code,
        "unit": found.datastream.unit,
        **(roles if is_told else without_levels(roles)),
        "runs": [_run_json(method, run, is_told=is_told) for method, run in sorted(runs.items())],
        "limits": [_limit_json(limit) for limit in limits],
        "derived": derived,
        "curve": curve_of(runs, scale, points=points, horizon_a=horizon_a),
    }
    return JSONResponse(plain(body))


def _run_json(method: str, run: Any, *, is_told: bool) -> dict[str, Any]:
    return {
        "method": method,
        "version": run.version,
        "parameters": dict(run.parameters),
        "window_start": stamp(run.window_start),
        "window_end": stamp(run.window_end),
        "status": run.status,
        "result": dict(run.result) if is_told else None,
        "input_digest": run.input_digest,
        "read_seq": run.read_seq,
        "recorded_at": stamp(run.recorded_at),
    }


def _limit_json(limit: Any) -> dict[str, Any]:
    return {
        "code": limit.code,
        "property": limit.property_code,
        "value": limit.value,
        "unit": limit.unit,
        "kind": limit.kind,
        "level": limit.level,
        "source": limit.source,
    }


@router.get(
    "/datastreams/{code}/scenario",
    summary="Where the level may be many years ahead, under a stated assumption",
    response_class=JSONResponse,
)
def show_scenario(
    request: Request,
    caller: MayRead,
    code: str,
    horizon_a: Annotated[float, Query(gt=0, le=100, description="Years beyond the last observation.")] = 25.0,
    level: Annotated[float, Query(ge=0.5, le=0.99, description="Probability of the interval.")] = 0.95,
) -> JSONResponse:
    """Give a scenario, not a forecast: one bent curve from rest to rest while production goes on as it does.

    It is computed now and not stored.
    """
    container = container_of(request)
    found = readable_datastream(container, caller, code)
    scale = scale_for(container, found, None)
    note_restricted_read(container, caller, "read scenario", [found.station], found.datastream)
    said = scenario_of(container, found.datastream, horizon_a, level, container.clock())
    if said["status"] == "ok":
        said |= {name: scale.values(said[name]) for name in ("value", "lower", "upper")}
        said["end_value"] = scale.values([said["end_value"]])[0]
    return JSONResponse(plain({"datastream": found.datastream.code, "unit": found.datastream.unit, **said}))
