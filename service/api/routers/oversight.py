"""What needs a person's eye beside alerts: findings, silent datastreams, quarantine, batches. This file finishes with `list_batches`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from domain.finding import FindingKind
from service.api.access_log import note_restricted_read
from service.api.callers import MayRead, MayReadBatches, MayReadQuarantine
from service.api.listings import every_datastream, every_station, statuses_of
from service.api.lookup import container_of, may_see, readable_datastream, visible_station
from service.api.parameters import (
    DEFAULT,
    After,
    From,
    Limit,
    To,
    decode_number,
    encode_cursor,
    listing,
    next_url,
    parse_span,
)
from service.api.silence import expected_by, is_silent
from service.api.times import number, plain, stamp
from service.sharing.disclosure import HeightView, height_view

router = APIRouter(prefix="/api/v1", tags=["oversight"])


@router.get("/findings", summary="Dated events that the analytics found", response_class=JSONResponse)
def list_findings(
    request: Request,
    caller: MayRead,
    datastream: str | None = None,
    station: str | None = None,
    kind: FindingKind | None = None,
    start: From = None,
    to: To = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give current findings (superseded ones are left out) in the order in which they were made."""
    container = container_of(request)
    span = parse_span(start, to)
    key = None if datastream is None else readable_datastream(container, caller, datastream).key
    wanted = None if station is None else visible_station(container, caller, station).code
    place = decode_number(after)
    items: list[dict[str, Any]] = []
    more = True
    while more and len(items) <= limit:
        rows = container.analyses.findings(datastream_id=key, start=span[0], end=span[1], after=place, limit=limit + 1)
        for row in rows:
            item = _finding_json(container, caller, row, wanted, kind)
            if item is not None:
                items.append(item)
        more = len(rows) > limit
        place = rows[-1].finding_id if rows else place
    page = items[:limit]
    read = {container.registers.datastream(item["datastream"]).station for item in page}
    note_restricted_read(container, caller, "list findings", [container.registers.station(code) for code in sorted(read)])
    following = next_url(request, after=encode_cursor(str(page[-1]["id"]))) if len(items) > limit else None
    return JSONResponse(plain(listing(page, following)))


def _finding_json(container: Any, caller: Any, row: Any, station: str | None, kind: FindingKind | None) -> dict[str, Any] | None:
    found = container.registers.datastream_by_id(row.datastream_id)
    owner = None if found is None else container.registers.station(found.station)
    if found is None or owner is None or not may_see(caller, owner, found):
        return None
    precise = caller.sees_precisely(owner)
    view = (
        HeightView.AS_STORED if precise else height_view(owner, found, container.registers.observed_property(found.property_code))
    )
    if view is HeightView.HIDDEN:
        return None
    if (station is not None and owner.code != station) or (kind is not None and row.kind != kind):
        return None
    return {
        "id": row.finding_id,
        "datastream": found.code,
        "kind": str(row.kind),
        "start": row.start,
        "end": row.end,
        "size": number(row.size),
        "sigma": number(row.sigma),
        "score": number(row.score),
        "unit": row.unit,
        "source": row.source,
        "parameters": dict(row.parameters) if view is HeightView.AS_STORED else {},
    }


@router.get("/silent", summary="Who is silent against the expected interval")
def list_silent(request: Request, caller: MayRead, limit: Limit = DEFAULT) -> dict[str, Any]:
    """Give silent datastreams, longest silence first; those without a declared interval are counted in `unknown`."""
    container = container_of(request)
    now = container.clock()
    stations = {item.code: item for item in every_station(container) if caller.audience.sees(item)}
    datastreams = [
        item
        for item in every_datastream(container, derived=False)
        if item.station in stations and may_see(caller, stations[item.station], item)
    ]
    statuses = statuses_of(container, datastreams)
    items, unknown = [], 0
    for item in datastreams:
        last = getattr(statuses.get(item.datastream_id), "last_time", None)
        silent = is_silent(last, item.interval_s, now)
        unknown += silent is None
        if silent:
            items.append((last, item))
    items.sort(key=lambda pair: (pair[0] is not None, pair[0]))
    return listing(
        [
            {
                "datastream": item.code,
                "station": item.station,
                "station_name_zh": stations[item.station].name_zh,
                "station_name_en": stations[item.station].name_en,
                "property": item.property_code,
                "interval_s": item.interval_s,
                "last_time": stamp(last),
                "expected_by": None if last is None else stamp(expected_by(last, item.interval_s or 0.0)),
                "silent_for_s": None if last is None else (now - last).total_seconds(),
            }
            for last, item in items[:limit]
        ],
        None,
        total=len(items),
        unknown=unknown,
    )


@router.get("/quarantine", summary="What came in and could not be stored")
def list_quarantine(
    request: Request, caller: MayReadQuarantine, station: str | None = None, limit: Limit = DEFAULT, after: After = None
) -> dict[str, Any]:
    """Give unresolved rejects with line, reason and raw bytes, newest last."""
    container = container_of(request)
    place = decode_number(after) or 0
    found: list[Any] = []
    more = True
    while more and len(found) <= limit:
        rows = container.observations.quarantined(place, limit + 1)
        found += [row for row in rows if station is None or row.station_code == station]
        more = len(rows) > limit
        place = rows[-1].id if rows else place
    items = [
        {
            "id": row.id,
            "station": row.station_code,
            "line": row.line,
            "code": row.code,
            "reason": row.reason,
            "raw": bytes(row.raw[:4096]).decode("utf-8", "replace"),
            "received_at": stamp(row.received_at),
            "batch_id": row.batch_id,
            "source": row.source,
            "source_kind": row.source_kind,
        }
        for row in found[:limit]
    ]
    following = next_url(request, after=encode_cursor(str(items[-1]["id"]))) if len(found) > limit else None
    return listing(items, following)


@router.get("/batches", summary="Where observations came from: one entry a commit", response_class=JSONResponse)
def list_batches(request: Request, caller: MayReadBatches, limit: Limit = DEFAULT, after: After = None) -> JSONResponse:
    """Give ingest batches with source, digest of the bytes and counts, newest first."""
    rows = container_of(request).observations.batches(decode_number(after), limit + 1)
    items = [
        {
            "id": row.id,
            "source_kind": row.source_kind,
            "source": row.source,
            "device": row.device,
            "actor": row.actor,
            "format": row.format,
            "profile": row.profile,
            "sha256": row.sha256,
            "parameters": dict(row.parameters),
            "received_at": row.received_at,
            "committed_at": row.committed_at,
            "accepted": row.accepted,
            "duplicate": row.duplicate,
            "corrected": row.corrected,
            "rejected": row.rejected,
            "ledger_seq": row.ledger_seq,
        }
        for row in rows[:limit]
    ]
    following = next_url(request, after=encode_cursor(str(items[-1]["id"]))) if len(rows) > limit else None
    return JSONResponse(plain(listing(items, following)))
