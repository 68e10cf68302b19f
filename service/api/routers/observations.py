"""Observations out (JSON, CSV) and in (the MQTT body over HTTP). This file finishes with `add_observations`."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Body, Header, Query, Request
from starlette.responses import JSONResponse, Response

from domain.errors import ConflictError, InputError, RequestError
from domain.model import station_code
from service.api import csv_output
from service.api.access_log import note_restricted_read
from service.api.callers import Caller, MayRead, MayWriteObservations
from service.api.intake import Intake, take_in
from service.api.lookup import Readable, container_of, readable_datastream
from service.api.parameters import MAXIMUM, After, From, Limit, To, decode_cursor, encode_cursor, next_url, parse_span, parse_time
from service.api.problems import problem
from service.api.reading import (
    Page,
    Scale,
    choose_rollup,
    observation_rows,
    parse_as_of,
    read_buckets,
    read_raw,
    refuse_as_of_rollup,
    scale_for,
)
from service.api.times import stamp

router = APIRouter(prefix="/api/v1", tags=["observations"])
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}}, "description": "A page of observations; CSV carries `next` in the Link header."}
}


@router.get("/observations", summary="Observations of one datastream", responses=_CSV, response_class=JSONResponse)
def list_observations(
    request: Request,
    caller: MayRead,
    datastream: Annotated[str, Query(description="Code, station:property or station:property:channel.")],
    start: From = None,
    to: To = None,
    resolution: Literal["auto", "raw", "1h", "1d", "1mo"] = "raw",
    points: Annotated[int, Query(ge=2, le=MAXIMUM, description="For auto: about how many values are wanted.")] = 2000,
    unit: Annotated[str | None, Query(description="UCUM unit to convert to, e.g. the source's.")] = None,
    as_of: Annotated[str | None, Query(description="A ledger sequence or a time: the values as known then.")] = None,
    output: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    columns: Annotated[bool, Query(description="Arrays instead of items.")] = False,
    limit: Limit = MAXIMUM,
    after: After = None,
) -> Response:
    """Give observations in time order, `from` inclusive and `to` exclusive, a page at a time."""
    container = container_of(request)
    found = readable_datastream(container, caller, datastream)
    span = parse_span(start, to)
    seq = parse_as_of(container, as_of)
    refuse_as_of_rollup(resolution, seq)
    scale = scale_for(container, found, unit)
    place = None if after is None else parse_time(decode_cursor(after), "after")
    query = _Query(span, place, limit, seq, points)
    used, page = _read(container, found, scale, query, resolution)
    note_restricted_read(container, caller, "read observations", [found.station], found.datastream)
    following = _following(request, page, used)
    if output == "csv":
        return _csv(page, scale.target, used, following)
    head = {
        "datastream": found.datastream.code,
        "property": found.datastream.property_code,
        "unit": scale.target,
        "direction": found.observed.direction,
        "resolution": used,
        "from": stamp(span[0]),
        "to": stamp(span[1]),
        "as_of": seq,
    }
    if scale.shift:
        head["relative_to"] = "first observation"
    if used != "raw":
        node = container.registers.node()
        head["zone"] = node.zone if node is not None else None
    names = csv_output.RAW if used == "raw" else csv_output.BUCKETS
    body = {"columns": {name: [row[name] for row in page.rows] for name in names}} if columns else {"items": page.rows}
    return JSONResponse({**head, **body, "next": following})


class _Query(NamedTuple):
    span: tuple[datetime | None, datetime | None]
    after: datetime | None
    limit: int
    as_of: int | None
    points: int


def _read(container: Any, found: Readable, scale: Scale, query: _Query, resolution: str) -> tuple[str, Page]:
    """Return the resolution that was used and the page; auto reads raw where that is not too much, else a roll-up."""
    whole = resolution == "raw" or (resolution == "auto" and query.as_of is not None)
    most = query.limit if whole else min(query.limit, query.points)
    if whole or (resolution == "auto" and not container.observations.exceeds(found.key, *query.span, most)):
        page = read_raw(container, found, scale, query.span, after=query.after, limit=most, as_of=query.as_of)
        return "raw", page
    if resolution == "auto":
        status = container.registers.datastream_statuses([found.key]).get(found.key)
        resolution = choose_rollup(status, *query.span, query.points)
    return resolution, read_buckets(container, found, scale, query.span, resolution, after=query.after, limit=query.limit)


def _following(request: Request, page: Page, resolution: str) -> str | None:
    if page.after is None:
        return None
    return next_url(request, after=encode_cursor(stamp(page.after) or ""), resolution=resolution)


def _csv(page: Page, unit: str, resolution: str, following: str | None) -> Response:
    names = csv_output.RAW if resolution == "raw" else csv_output.BUCKETS
    headers = {"Link": f'<{following}>; rel="next"'} if following else {}
    text = csv_output.observations_csv(page.rows, unit, names)
    return Response(text, media_type="text/csv; charset=utf-8; header=present", headers=headers)


@router.get("/datastreams/{code}/revisions", summary="Superseded values of one observation")
def list_revisions(
    request: Request,
    caller: MayRead,
    code: str,
    time: Annotated[str, Query(description="The phenomenon time, RFC 3339 with an offset.")],
) -> dict[str, Any]:
    """Give every earlier value of an observation, oldest first."""
    container = container_of(request)
    found = readable_datastream(container, caller, code)
    scale = scale_for(container, found, None)
    rows = container.observations.revisions(found.key, parse_time(time, "time"))
    note_restricted_read(container, caller, "read revisions", [found.station], found.datastream)
    items = [
        {**said, "received_at": stamp(row.received_at), "superseded_at": stamp(row.superseded_at), "batch_id": row.batch_id}
        for row, said in zip(rows, observation_rows(rows, scale), strict=True)
    ]
    return {"items": items, "next": None}


_EXAMPLES = {
    "one": {"value": {"station": "JX-W01", "t": "2026-01-02T03:04:05+08:00", "depth_to_water": 5.23}},
    "columns": {"value": {"station": "JX-W01", "t": ["2026-01-02T03:00:00Z"], "depth_to_water": [5.23]}},
}


@router.post(
    "/observations", status_code=201, summary="Send observations; 201 comes after the commit", response_class=JSONResponse
)
def add_observations(
    request: Request,
    caller: MayWriteObservations,
    body: Annotated[dict[str, Any], Body(openapi_examples=_EXAMPLES)],
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Take the native JSON body of MQTT with its `station`; the same `Idempotency-Key` gives the same answer again."""
    container = container_of(request)
    station = body.get("station")
    if not isinstance(station, str):
        raise InputError(
            "the body names no station.", where="station", remedy='add "station": CODE beside "t" and the properties'
        )
    station = station_code(station, where="station")
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    caller.own(_register_code(container, station))
    remembered = _remembered(container, caller, idempotency_key, digest)
    if remembered is not None:
        return JSONResponse(remembered, status_code=201, headers={"Idempotent-Replayed": "true"})
    outcome = take_in(container, Intake(station, body, caller.actor, container.clock()))
    answer = outcome.answer()
    if outcome.nothing_fits:
        return problem(
            400,
            "input",
            "Nothing of it can be stored; it was put into quarantine",
            detail=answer["rejects"][0]["reason"] if answer["rejects"] else "no observation in the body",
            remedy="correct what the rejects name; devices create no stations or datastreams",
            instance=request.url.path,
            **answer,
        )
    if idempotency_key is not None:
        container.access.remember(idempotency_key, _owner(caller), digest, answer)
    return JSONResponse(answer, status_code=201)


def _register_code(container: Any, code: str) -> str:
    station = container.registers.station(code)
    return code if station is None else str(station.code)


def _owner(caller: Caller) -> str:
    """Return whose Idempotency-Keys these are: an account's over all its sessions, else those of this very key."""
    return caller.actor if caller.account_id is not None else f"key {caller.key_id}"


def _remembered(container: Any, caller: Caller, key: str | None, digest: str) -> dict[str, Any] | None:
    if key is None:
        return None
    if not key.strip():
        raise RequestError("the Idempotency-Key is empty.", where="Idempotency-Key", remedy="send a UUID, or leave it out")
    found = container.access.idempotent(key, _owner(caller))
    if found is None:
        return None
    request_sha256, response = found
    if request_sha256 != digest:
        raise ConflictError(
            "this Idempotency-Key was used with another body.", where="Idempotency-Key", remedy="use a new key for a new body"
        )
    return dict(response)
