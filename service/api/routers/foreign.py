"""Alerts of partners: where they send them, how they are listed, and how a person takes notice of them.

This file finishes with `acknowledge_foreign`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from alerts.foreign import has_expired
from domain.alert import MessageStatus
from domain.errors import NotFoundError, PermissionDeniedError
from domain.foreign import ForeignAlert, ForeignMessage, ForeignState
from service.api.callers import MayAcknowledge, MayReadCases, MaySendAlerts
from service.api.lookup import container_of
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url, parse_time
from service.api.routers.alerts import StatusWord, named_person
from service.api.times import plain, stamp
from service.foreign_desk import acknowledge, answers_due, take_in
from storage.foreign import ForeignQuery

router = APIRouter(prefix="/api/v1", tags=["partners' alerts"])
CAP = "application/cap+xml"
StateWord = Literal["active", "ended", "cancelled", "all"]


class TakenNotice(BaseModel):
    """What a person says on taking notice of a partner's alert; it goes back in the CAP Ack."""

    model_config = ConfigDict(extra="forbid")
    note: str = Field(default="", max_length=2000)


@router.post(
    "/shared/alerts",
    status_code=201,
    summary="Send us an alert, an update, a cancellation or an answer, as CAP 1.2",
    response_class=JSONResponse,
    openapi_extra={"requestBody": {"required": True, "content": {CAP: {"schema": {"type": "string"}}}}},
)
def receive_alert(
    request: Request,
    caller: MaySendAlerts,
    body: Annotated[bytes, Body(media_type=CAP, description="One CAP 1.2 message, UTF-8, without DTD.")] = b"",
    signed: Annotated[
        str | None, Header(alias="X-GroundWatch-Signature", description="sha256= and the HMAC of the body, where agreed.")
    ] = None,
) -> JSONResponse:
    """Store a message under the partner's key: 201 after the commit, 200 where the same message came before."""
    container = container_of(request)
    partner = container.access.partner(caller.partner) if caller.partner is not None else None
    if partner is None:
        raise PermissionDeniedError(
            "alerts are sent with a partner's key.", remedy="make one with `groundwatch key add partner partner=CODE`"
        )
    taken = take_in(container, partner, body, signed, container.clock())
    answer = {
        "identifier": taken.message.identifier,
        "sender": taken.message.sender,
        "message_type": taken.message.message_type.value,
        "status": taken.message.status.value,
        "repeated": taken.repeated,
        "received_at": stamp(taken.message.received_at),
        "foreign_alert": None if taken.foreign is None else taken.foreign.foreign_id,
        "answers": None if taken.answered is None else taken.answered.identifier,
    }
    return JSONResponse(plain(answer), status_code=200 if taken.repeated else 201)


@router.get("/foreign-alerts", summary="Alerts of partners, newest change first", response_class=JSONResponse)
def list_foreign(
    request: Request,
    caller: MayReadCases,
    state: Annotated[list[StateWord] | None, Query(description="Repeatable; active when not given.")] = None,
    status: Annotated[
        list[StatusWord] | None,
        Query(description="CAP status, repeatable; Actual when not given: exercises and tests are no alerts."),
    ] = None,
    partner: str | None = None,
    acknowledged: bool | None = None,
    overdue: Annotated[bool | None, Query(description="Whether our answer is past the time that was agreed.")] = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give partners' alerts that match every filter; they are theirs, and never sent on."""
    container = container_of(request)
    wanted = ForeignQuery(
        states=() if state is not None and "all" in state else tuple(state or [ForeignState.ACTIVE.value]),
        statuses=() if status is not None and "all" in status else tuple(status or [MessageStatus.ACTUAL.value]),
        partner=partner,
        acknowledged=acknowledged,
    )
    page, following = container.foreign.list_alerts(wanted, after=_place(after), limit=limit)
    now, names, due = container.clock(), _names(container), answers_due(container, page)
    next_page = None
    if following is not None:
        next_page = next_url(request, after=encode_cursor(f"{following[0].isoformat()} {following[1]}"))
    items = [foreign_json(item, now, names, due.get(item.foreign_id)) for item in page]
    return JSONResponse(plain(listing([item for item in items if overdue in (None, item["overdue"])], next_page)))


def _place(after: str | None) -> tuple[datetime, int] | None:
    if after is None:
        return None
    moment, _, number = decode_cursor(after).partition(" ")
    return parse_time(moment, "after"), int(number) if number.isdecimal() else 0


def _names(container: Any) -> dict[str, dict[str, str]]:
    return {item.code: {"zh": item.name_zh, "en": item.name_en} for item in container.access.partners()}


def foreign_json(alert: ForeignAlert, now: datetime, names: dict[str, dict[str, str]], due: datetime | None) -> dict[str, Any]:
    """Return a partner's alert as it stands in lists; texts are the sender's own, by language; `due` is when our answer is due."""
    told = next((item for item in reversed(alert.messages) if item.said["infos"]), alert.newest)
    last = alert.acknowledgements[-1] if alert.acknowledgements else None
    return {
        "id": alert.foreign_id,
        "partner": alert.partner,
        "partner_name": names.get(alert.partner, {"zh": alert.partner, "en": alert.partner}),
        "sender": alert.sender,
        "identifier": alert.messages[0].identifier,
        "state": "expired" if alert.state is ForeignState.ACTIVE and has_expired(alert, now) else alert.state.value,
        "status": alert.status.value,
        "level": int(alert.level),
        "level_word": alert.level.word,
        "peak_level": int(alert.peak_level),
        "headline": _text(told, "headline", "event"),
        "explanation": _text(told, "description"),
        "instruction": _text(told, "instruction"),
        "event": _text(told, "event"),
        "area": told.said["infos"][0]["areas"] if told.said["infos"] else [],
        "sent": stamp(alert.newest.sent),
        "received_at": stamp(alert.newest.received_at),
        "onset": told.said["infos"][0].get("onset") if told.said["infos"] else None,
        "expires": told.said["infos"][0].get("expires") if told.said["infos"] else None,
        "incomplete": alert.incomplete,
        "answer_due_at": stamp(due),
        "overdue": due is not None and due < now,
        "acknowledged": alert.is_acknowledged,
        "acknowledged_by": last.actor if last is not None else None,
        "acknowledged_at": stamp(last.recorded_at) if last is not None else None,
    }


def _text(message: ForeignMessage, *fields: str) -> dict[str, str]:
    """Return a text in Chinese and English: each from the info in that language, else from the first."""
    infos = message.said["infos"]
    if not infos:
        note = str(message.said["note"])
        return {"zh": note, "en": note}
    return {
        language: next(
            (info[name] for name in fields for info in _by_language(infos, language) if info.get(name)), message.identifier
        )
        for language in ("zh", "en")
    }


def _by_language(infos: list[dict[str, Any]], language: str) -> list[dict[str, Any]]:
    """Sort infos so that those in a language stand first; CAP's default is en-US."""
    return sorted(infos, key=lambda info: not str(info.get("language", "en-US")).lower().startswith(language))


@router.get("/foreign-alerts/{number}", summary="A partner's alert with its messages", response_class=JSONResponse)
def show_foreign(request: Request, caller: MayReadCases, number: int) -> JSONResponse:
    """Give one alert with every message and every acknowledgement."""
    container = container_of(request)
    return JSONResponse(_detail(container, container.foreign.find(number)))


def _detail(container: Any, alert: ForeignAlert) -> dict[str, Any]:
    due = answers_due(container, [alert]).get(alert.foreign_id)
    body = foreign_json(alert, container.clock(), _names(container), due)
    body["messages"] = [
        {
            "identifier": item.identifier,
            "message_type": item.message_type.value,
            "sent": stamp(item.sent),
            "received_at": stamp(item.received_at),
            "level_word": item.level.word,
            "references": [{"sender": named.sender, "identifier": named.identifier} for named in item.references],
            "said": dict(item.said),
        }
        for item in alert.messages
    ]
    body["acknowledgements"] = [
        {
            "identifier": item.identifier,
            "by": item.actor,
            "note": item.note,
            "at": stamp(item.recorded_at),
            "acknowledged": list(item.acknowledged),
        }
        for item in alert.acknowledgements
    ]
    result: dict[str, Any] = plain(body)
    return result


@router.get("/foreign-alerts/{number}/messages/{identifier}.cap", summary="A message as it came or went", response_class=Response)
def show_foreign_cap(request: Request, caller: MayReadCases, number: int, identifier: str) -> Response:
    """Give the CAP 1.2 XML of one message of the partner, or of our acknowledgement of it."""
    alert = container_of(request).foreign.find(number)
    found = next((item.body for item in (*alert.messages, *alert.acknowledgements) if item.identifier == identifier), None)
    if found is None:
        raise NotFoundError("the alert has no such message.", where="identifier", remedy="the alert lists its messages")
    return Response(found, media_type=CAP)


@router.post(
    "/foreign-alerts/{number}/acknowledgement", summary="Take notice of a partner's alert, by name", response_class=JSONResponse
)
def acknowledge_foreign(
    request: Request, caller: MayAcknowledge, number: int, said: Annotated[TakenNotice, Body()]
) -> JSONResponse:
    """Record who took notice; the partner gets a CAP Ack through the receiver that its agreement names."""
    container = container_of(request)
    alert = acknowledge(container, number, named_person(caller), said.note.strip(), container.clock())
    return JSONResponse(_detail(container, alert))
