"""Verdicts on alerts, and the metrics of alarms over a period. This file finishes with `show_quality`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from alerts.alarm_quality import load_targets, measure, to_json
from domain.case import CaseVerdict
from domain.errors import NotFoundError, PermissionDeniedError, RequestError
from service.api.callers import MayAcknowledge, MayRead, MayReadCases
from service.api.lookup import container_of
from service.api.parameters import From, To, parse_span
from service.api.times import plain, stamp

router = APIRouter(prefix="/api/v1", tags=["alarm quality"])
PERIOD = timedelta(days=30)
LONGEST = timedelta(days=3660)


class Finding(BaseModel):
    """What a person found an alert to be."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["real", "instrument", "maintenance", "natural", "duplicate"]
    note: str = Field(default="", max_length=2000)


@router.post("/alerts/{key}/verdict", status_code=201, summary="Say what an alert turned out to be", response_class=JSONResponse)
def add_verdict(request: Request, caller: MayAcknowledge, key: str, said: Annotated[Finding, Body()]) -> JSONResponse:
    """Record a named person's verdict; a later one counts, and every one stays."""
    container = container_of(request)
    if caller.account_id is None or caller.name is None:
        raise PermissionDeniedError("a verdict has a name.", remedy="log in with your own account; a key has no name")
    alert = _alert(container, key)
    container.alarm_quality.add_verdict(alert.alert_id, CaseVerdict(said.verdict), caller.name, said.note, container.clock())
    return JSONResponse(_verdicts(container, alert.alert_id), status_code=201)


@router.get("/alerts/{key}/verdict", summary="What people found an alert to be", response_class=JSONResponse)
def list_verdicts(request: Request, caller: MayReadCases, key: str) -> JSONResponse:
    """Give every verdict, first to last."""
    container = container_of(request)
    return JSONResponse(_verdicts(container, _alert(container, key).alert_id))


def _alert(container: Any, key: str) -> Any:
    alert = container.alerts.find_alert(int(key) if key.isdecimal() and len(key) < 19 else key)
    if alert is None:
        raise NotFoundError(f"there is no alert {key!r}.", where="id", remedy="the alerts are listed at /api/v1/alerts?state=all")
    return alert


def _verdicts(container: Any, alert_id: int) -> dict[str, Any]:
    rows = container.alarm_quality.verdicts(alert_id)
    items = [{"verdict": row.verdict, "by": row.actor, "note": row.note, "at": stamp(row.recorded_at)} for row in rows]
    return {"verdict": items[-1]["verdict"] if items else None, "items": items}


@router.get("/alarm-quality", summary="Metrics of alarms (ISA-18.2)", response_class=JSONResponse)
def show_quality(request: Request, caller: MayRead, start: From = None, to: To = None) -> JSONResponse:
    """Give the metrics of a period beside their targets; the last 30 days when no period is given."""
    container = container_of(request)
    first, last = parse_span(start, to)
    end = last or container.clock()
    begin = first or end - PERIOD
    if begin >= end or end - begin > LONGEST:
        raise RequestError("the period is empty or longer than ten years.", where="from", remedy="give from and to")
    targets = load_targets()
    found = measure(
        container.alarm_quality.episodes(begin, end), container.alarm_quality.notices(begin, end), begin, end, targets
    )
    return JSONResponse(plain(to_json(found, targets)))
