"""Answers that partners owe to alerts of ours. This file finishes with `list_owed`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from alerts.partner_answers import TOLD
from service.api.callers import Caller, MayReadCases
from service.api.lookup import container_of
from service.api.parameters import listing
from service.api.times import plain
from service.escalating import owed_answers

router = APIRouter(prefix="/api/v1", tags=["partners' alerts"])


@router.get("/partner-answers", summary="Answers that partners owe to our alerts", response_class=JSONResponse)
def list_owed(
    request: Request,
    caller: MayReadCases,
    overdue: Annotated[
        bool | None, Query(description="Only those past the time agreed, or only those that are not; both when not given.")
    ] = None,
    partner: str | None = None,
) -> JSONResponse:
    """Give every firing alert that a partner has not acknowledged as it stands, the one that is due soonest first."""
    container = container_of(request)
    now = container.clock()
    found = [_owed_json(container, caller, item, now) for item in owed_answers(container)]
    items = [
        item for item in found if item is not None and overdue in (None, item["overdue"]) and partner in (None, item["partner"])
    ]
    return JSONResponse(plain(listing(items, None)))


def _owed_json(container: Any, caller: Caller, item: Any, now: Any) -> dict[str, Any] | None:
    owed = item.owed
    alert = container.alerts.find_alert(owed.alert)
    station = container.registers.station(alert.station) if alert is not None and alert.station is not None else None
    if alert is None or (station is not None and not caller.audience.sees(station)):
        return None
    told = (alert.memory.get(TOLD) or {}).get(owed.partner, {})
    return {
        "partner": owed.partner,
        "partner_name": {"zh": item.name_zh, "en": item.name_en},
        "alert": owed.alert,
        "alert_id": owed.alert_id,
        "level_word": alert.level.word,
        "scope": alert.scope,
        "identifier": owed.identifier,
        "since": owed.since,
        "delivered_at": owed.delivered_at,
        "due_at": item.due_at,
        "overdue": item.due_at < now,
        "told": told.get("to") or None if told.get("message") == owed.identifier else None,
    }
