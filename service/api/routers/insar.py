"""InSAR: deliveries, points in a box, one point's series, one epoch's map. This file finishes with `show_map`.

Everything counts toward the satellite positive, in mm and mm/a. Who may not see an area precisely gets positions to 0.01 degree and
no heights, and boxes are widened to the same grid, so that narrowing a box does not narrow down a point.
"""

from __future__ import annotations

import io
import math
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from domain.errors import NotFoundError, RequestError
from domain.model import Station
from service.api.access_log import note_restricted_read
from service.api.callers import Caller, MayRead
from service.api.lookup import container_of
from service.api.parameters import DEFAULT, After, Limit, decode_number, encode_cursor, listing, next_url, parse_time
from service.api.times import number, plain, stamp
from service.sharing.disclosure import POSITION_STEP_DEG
from storage.insar import EVERYWHERE, Box, DeliveryRow, PointMap
from storage.insar_points import PointRow

router = APIRouter(prefix="/api/v1/insar", tags=["insar"])
SIGN = {"unit": "mm", "rate_unit": "mm/a", "direction": "toward the satellite positive"}
MOST_IN_JSON = 50_000
PAGE = 1000

DeliveryName = Annotated[str, Query(description="Name of the delivery.")]
Bbox = Annotated[str | None, Query(description="west,south,east,north in degrees.")]


def visible_delivery(container: Any, caller: Caller, code: str) -> tuple[DeliveryRow, Station]:
    """Return a delivery and its area, or `NotFoundError` when it does not exist for this caller."""
    found: DeliveryRow | None = container.insar.delivery(code)
    station: Station | None = container.registers.station(found.station) if found is not None else None
    if found is None or station is None or not caller.audience.sees(station):
        raise NotFoundError(
            f"there is no delivery {code!r}.", where="delivery", remedy="the names are listed at /api/v1/insar/deliveries"
        )
    return found, station


def parse_bbox(text: str | None, *, precise: bool) -> Box:
    """Return a box; for callers without precise rights it is widened to the grid that their positions are rounded to."""
    if text is None:
        return EVERYWHERE
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        west = south = east = north = math.nan
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise RequestError(
            f"{text!r} is no box.", where="bbox", remedy="write west,south,east,north in degrees, e.g. 120.5,30.4,121.0,31.0"
        )
    if precise:
        return west, south, east, north
    return _down(west), _down(south), _up(east), _up(north)


def _down(angle_deg: float) -> float:
    return (math.floor(angle_deg / POSITION_STEP_DEG - 0.5) + 0.5) * POSITION_STEP_DEG


def _up(angle_deg: float) -> float:
    return (math.ceil(angle_deg / POSITION_STEP_DEG + 0.5) - 0.5) * POSITION_STEP_DEG


def _seen(angle_deg: float, *, precise: bool) -> float:
    return angle_deg if precise else round(angle_deg / POSITION_STEP_DEG) / round(1 / POSITION_STEP_DEG)


def _delivery_json(row: DeliveryRow, *, precise: bool, full: bool = False) -> dict[str, Any]:
    sides = (row.west, row.south, row.east, row.north)
    body: dict[str, Any] = {
        "code": row.code,
        "station": row.station,
        "datastream": row.datastream,
        "version": row.version,
        "superseded_by": row.superseded_by,
        "track": row.track,
        "heading_deg": number(row.heading_deg),
        "incidence_deg": number(row.incidence_deg),
        **SIGN,
        "source_positive": row.source_positive,
        "points": row.points,
        "epochs": len(row.epochs),
        "first_epoch": stamp(row.epochs[0]),
        "last_epoch": stamp(row.epochs[-1]),
        "bounds": [None if side is None else _seen(side, precise=precise) for side in sides],
        "imported_at": stamp(row.imported_at),
        "ledger_seq": row.ledger_seq,
    }
    if full:
        reference = {key: value for key, value in row.reference.items() if precise or not key.endswith("_deg")}
        body |= {"times": [stamp(epoch) for epoch in row.epochs], "attributes": row.attributes, "reference": plain(reference)}
        body |= {"source": row.source, "sha256": row.sha256, "profile": row.profile}
    return body


@router.get("/deliveries", summary="InSAR deliveries, old and new versions", response_class=JSONResponse)
def list_deliveries(
    request: Request,
    caller: MayRead,
    station: Annotated[str | None, Query(description="Code of the area.")] = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give the deliveries that the caller may see, in the order in which they came."""
    container = container_of(request)
    place = decode_number(after) or 0
    found: list[tuple[DeliveryRow, Station]] = []
    while len(found) <= limit and (rows := container.insar.deliveries(place, PAGE)):
        place = rows[-1].delivery_id
        for row in rows:
            area = container.registers.station(row.station)
            if area is not None and caller.audience.sees(area) and station in {None, row.station}:
                found.append((row, area))
    page = found[:limit]
    following = next_url(request, after=encode_cursor(str(page[-1][0].delivery_id))) if len(found) > limit else None
    note_restricted_read(container, caller, "list insar deliveries", {area.code: area for _, area in page}.values())
    return JSONResponse(listing([_delivery_json(row, precise=caller.sees_precisely(area)) for row, area in page], following))


@router.get(
    "/deliveries/{code}", summary="A delivery with its epochs, its reference and its analyses", response_class=JSONResponse
)
def show_delivery(request: Request, caller: MayRead, code: str) -> JSONResponse:
    """Give one delivery whole."""
    container = container_of(request)
    row, area = visible_delivery(container, caller, code)
    note_restricted_read(container, caller, "read insar delivery", [area])
    runs = [
        {
            "id": run.run_id,
            "method": run.method,
            "version": run.version,
            "parameters": plain(run.parameters),
            "columns": [{"name": name, "unit": unit} for name, unit in zip(run.columns, run.units, strict=True)],
            "input_digest": run.input_digest,
            "summary": plain(run.summary),
            "created_at": stamp(run.created_at),
        }
        for run in container.insar.runs(row.delivery_id)
    ]
    return JSONResponse({**_delivery_json(row, precise=caller.sees_precisely(area), full=True), "runs": runs})


def _point_json(point: PointRow, *, precise: bool) -> dict[str, Any]:
    return {
        "pid": point.pid,
        "longitude_deg": _seen(point.longitude_deg, precise=precise),
        "latitude_deg": _seen(point.latitude_deg, precise=precise),
        "height_m": number(point.height) if precise else None,
        "rate": number(point.rate),
        "rate_sigma": number(point.sigma),
        "cumulative": number(point.cumulative),
        "coherence": number(point.coherence),
    }


@router.get("/points", summary="Points of a delivery in a box", response_class=JSONResponse)
def list_points(
    request: Request, caller: MayRead, delivery: DeliveryName, bbox: Bbox = None, limit: Limit = DEFAULT, after: After = None
) -> JSONResponse:
    """Give points as they were delivered, page by page; rates and displacements toward the satellite positive."""
    container = container_of(request)
    row, area = visible_delivery(container, caller, delivery)
    precise = caller.sees_precisely(area)
    place = decode_number(after)
    found = container.insar.points(
        row.delivery_id, parse_bbox(bbox, precise=precise), after=-1 if place is None else place, limit=limit + 1
    )
    following = next_url(request, after=encode_cursor(str(found[limit - 1].point_no))) if len(found) > limit else None
    note_restricted_read(container, caller, "read insar points", [area])
    items = [_point_json(point, precise=precise) for point in found[:limit]]
    return JSONResponse(listing(items, following, delivery=row.code, **SIGN))


@router.get(
    "/points/{pid}", summary="One point with its series and the results of the newest analysis", response_class=JSONResponse
)
def show_point(request: Request, caller: MayRead, pid: str, delivery: DeliveryName) -> JSONResponse:
    """Give one point whole, as columns of time and displacement."""
    container = container_of(request)
    row, area = visible_delivery(container, caller, delivery)
    point: PointRow | None = container.insar.point(row.delivery_id, pid)
    if point is None:
        raise NotFoundError(
            f"delivery {row.code} has no point {pid!r}.", where="pid", remedy="the points are listed at /api/v1/insar/points"
        )
    note_restricted_read(container, caller, "read insar point", [area])
    precise = caller.sees_precisely(area)
    series = container.insar.series(row.delivery_id, point.point_no).astype(float).tolist()
    body = {"delivery": row.code, **SIGN, **_point_json(point, precise=precise)}
    body["columns"] = {"time": [stamp(epoch) for epoch in row.epochs], "displacement": [number(value) for value in series]}
    runs = container.insar.runs(row.delivery_id, limit=1)
    body["run"] = body["results"] = None
    if runs:
        values = container.insar.results(runs[0].run_id, point.point_no).astype(float).tolist()
        body["run"] = {"id": runs[0].run_id, "method": runs[0].method, "version": runs[0].version}
        body["results"] = {
            name: {"value": number(value), "unit": unit}
            for name, value, unit in zip(runs[0].columns, values, runs[0].units, strict=True)
        }
    return JSONResponse(body)


_ARROW = "application/vnd.apache.arrow.stream"
_MAP: dict[int | str, dict[str, Any]] = {200: {"content": {_ARROW: {}}, "description": "Columns as JSON, or an Arrow stream."}}


@router.get(
    "/map", summary="One value of every point: an epoch, an attribute or a result", responses=_MAP, response_class=JSONResponse
)
def show_map(
    request: Request,
    caller: MayRead,
    delivery: DeliveryName,
    epoch: Annotated[str | None, Query(description="An epoch of the delivery, RFC 3339 with an offset.")] = None,
    value: Annotated[str | None, Query(description="A result of the newest analysis, else an attribute, e.g. rate.")] = None,
    bbox: Bbox = None,
    output: Annotated[Literal["json", "arrow"], Query(alias="format")] = "json",
) -> Response:
    """Give columns of equal length; `value` is in `unit`, and where it has a sign, toward the satellite positive."""
    container = container_of(request)
    row, area = visible_delivery(container, caller, delivery)
    precise = caller.sees_precisely(area)
    found, head = _values(container, row, epoch, value, parse_bbox(bbox, precise=precise), precise=precise)
    note_restricted_read(container, caller, "read insar map", [area])
    head = {"delivery": row.code, "version": row.version, **head}
    if not precise:
        found = PointMap(found.point_no, np.round(found.longitude_deg, 2), np.round(found.latitude_deg, 2), found.value)
    if output == "arrow":
        return Response(_arrow(found, head), media_type=_ARROW)
    if len(found) > MOST_IN_JSON:
        raise RequestError(
            f"{len(found)} points are too many for JSON ({MOST_IN_JSON}).",
            where="format",
            remedy="use format=arrow, or a smaller bbox",
        )
    values = [number(one) for one in found.value.astype(float).tolist()]
    columns = {"longitude_deg": found.longitude_deg.tolist(), "latitude_deg": found.latitude_deg.tolist(), "value": values}
    return JSONResponse({**head, "columns": columns})


def _values(
    container: Any, row: DeliveryRow, epoch: str | None, value: str | None, box: Box, *, precise: bool
) -> tuple[PointMap, dict[str, Any]]:
    if (epoch is None) == (value is None):
        raise RequestError("name one of epoch and value.", where="epoch", remedy="e.g. epoch=2024-01-05T00:00:00Z, or value=rate")
    direction = SIGN["direction"]
    if epoch is not None:
        moment = parse_time(epoch, "epoch")
        if moment not in row.epochs:
            raise NotFoundError(
                f"{epoch} is no epoch of {row.code}.", where="epoch", remedy="its times are at /api/v1/insar/deliveries/{code}"
            )
        found = container.insar.map_of_epoch(row.delivery_id, row.epochs.index(moment), box)
        return found, {"epoch": stamp(moment), "value": "displacement", "unit": "mm", "direction": direction}
    for run in container.insar.runs(row.delivery_id, limit=1):
        if value in run.columns:
            place = run.columns.index(value)
            head = {"value": value, "unit": run.units[place], "direction": direction, "run": run.run_id}
            return container.insar.map_of_result(row.delivery_id, run.run_id, place, box), head
    hidden = set() if precise else {"height", "easting", "northing"}
    if value not in row.attributes or value in hidden:
        known = sorted(set(row.attributes) - hidden)
        raise NotFoundError(f"{row.code} has no {value!r}.", where="value", remedy=f"it has {', '.join(known)}")
    head = {"value": value, "unit": _UNITS.get(value or "", "1"), "direction": direction, "run": None}
    return container.insar.map_of_attribute(row.delivery_id, row.attributes.index(value), box), head


_UNITS = {
    "rate": "mm/a", "sigma": "mm/a", "cumulative": "mm", "rmse": "mm", "height": "m", "incidence": "deg", "heading": "deg",
    "acceleration": "mm/a2", "acceleration_sigma": "mm/a2", "seasonality": "mm", "seasonality_sigma": "mm", "easting": "m", "northing": "m",
}  # fmt: skip


def _arrow(found: PointMap, head: dict[str, Any]) -> bytes:
    """Write columns around the bytes that are there: asked to look at an array itself, pyarrow first imports pandas, which takes a second."""
    columns = {"longitude_deg": found.longitude_deg, "latitude_deg": found.latitude_deg, "value": found.value}
    arrays = [
        pa.Array.from_buffers(kind, len(found), [None, pa.py_buffer(np.ascontiguousarray(values))])
        for kind, values in zip((pa.float64(), pa.float64(), pa.float32()), columns.values(), strict=True)
    ]
    metadata = {key: str(item) for key, item in head.items() if item is not None}
    table = pa.Table.from_arrays(arrays, names=list(columns), metadata=metadata)
    sink = io.BytesIO()  # grows where it stands; pyarrow's own is copied at every doubling
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
