"""Cases: collect, verify, assign, handle, follow up, close, reopen; documents, the overdue, the ledger.

Every step is a named person's. This file finishes with `show_attachment`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from alerts.case_desk import Collected, FollowUp
from alerts.cases import MAY_FOLLOW
from domain.case import Case, CaseEvent, CaseState, CaseStep
from domain.errors import InputError, NotFoundError, PermissionDeniedError
from service.api.callers import Caller, MayHandleCases, MayReadCases
from service.api.lookup import container_of
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url, parse_time
from service.api.permissions import Permission
from service.api.times import plain, stamp
from service.documents import check_document
from service.reports.case_ledger import case_ledger_xlsx
from storage.cases import CaseQuery

router = APIRouter(prefix="/api/v1/cases", tags=["cases"])
StateWord = Literal["collected", "verified", "assigned", "handling", "tracking", "closed"]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_DECIDED_BY_A_SUPERVISOR = frozenset({CaseStep.ASSIGN, CaseStep.DISMISS, CaseStep.CLOSE, CaseStep.REOPEN})
_LEDGER_PAGE = 500


class NewCase(BaseModel):
    """What is said when a case is collected."""

    model_config = ConfigDict(extra="forbid")
    title: str = Field(max_length=200)
    description: str = Field(default="", max_length=4000)
    region_code: str | None = Field(default=None, pattern=r"^[0-9]{6}$")
    stations: list[str] = Field(default_factory=list, max_length=200)
    alerts: list[str] = Field(default_factory=list, max_length=200)
    origin: Literal["alert", "person", "patrol", "report", "partner"] = "person"
    note: str = Field(default="", max_length=4000)


class Step(BaseModel):
    """One step. What it needs beside the note: assign owner, leader, due_at; handle measure; close and dismiss verdict; link alert."""

    model_config = ConfigDict(extra="forbid")
    step: Literal["verify", "dismiss", "assign", "handle", "close", "reopen", "link", "comment"]
    note: str = Field(default="", max_length=4000)
    owner: str | None = Field(default=None, max_length=200)
    leader: str | None = Field(default=None, max_length=200)
    due_at: str | None = None
    measure: str | None = Field(default=None, max_length=4000)
    done_at: str | None = None
    verdict: str | None = None
    alert: str | None = None


class Comparison(BaseModel):
    """A follow-up: which datastream, when the measure was taken, and which way is the good one."""

    model_config = ConfigDict(extra="forbid")
    datastream: str
    measure_at: str
    better: Literal["lower", "higher"] = "lower"
    quantity: Literal["level", "rate"] = "level"
    before_days: float = Field(default=365.25, gt=0, le=36525)
    note: str = Field(default="", max_length=4000)


@router.post("", status_code=201, summary="Collect a case (收集)", response_class=JSONResponse)
def collect(request: Request, caller: MayHandleCases, said: Annotated[NewCase, Body()]) -> JSONResponse:
    """Open a case; alerts may be named by identifier, and several may lead to one case."""
    container = container_of(request)
    collected = Collected(said.title, said.description, said.region_code, tuple(said.stations), tuple(said.alerts), said.origin)
    case = container.case_desk.collect(collected, _person(caller), container.clock(), said.note)
    return JSONResponse(_detail(container, case), status_code=201, headers={"Location": f"/api/v1/cases/{case.code}"})


@router.get("", summary="Cases, newest change first", response_class=JSONResponse)
def list_cases(
    request: Request,
    caller: MayReadCases,
    state: Annotated[list[StateWord] | None, Query(description="Repeatable; every state when not given.")] = None,
    owner: str | None = None,
    region: Annotated[str | None, Query(description="First digits of the GB/T 2260 code.", pattern=r"^[0-9]{1,6}$")] = None,
    overdue: bool = False,
    alert: Annotated[str | None, Query(description="Only cases that this alert led to.")] = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give cases that match every filter, and how many there are in each state."""
    container = container_of(request)
    now = container.clock()
    counts = {name: {"cases": all_, "overdue": late} for name, (all_, late) in container.cases.counts(now).items()}
    if alert is not None:
        found = [container.cases.case(code) for code in container.cases.of_alert(alert)]
        return JSONResponse(plain(listing([case_json(case, now) for case in found], None, counts=counts)))
    wanted = CaseQuery(tuple(state or ()), owner, region, now if overdue else None)
    page, following = container.cases.list_cases(wanted, after=_place(after), limit=limit)
    next_page = None
    if following is not None:
        next_page = next_url(request, after=encode_cursor(f"{following[0].isoformat()} {following[1]}"))
    return JSONResponse(plain(listing([case_json(case, now) for case in page], next_page, counts=counts)))


def _place(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    moment, _, code = decode_cursor(after).partition(" ")
    return parse_time(moment, "after"), code


@router.get("/ledger.xlsx", summary="The ledger of cases (台账)", response_class=Response)
def ledger(
    request: Request,
    caller: MayReadCases,
    since: Annotated[str | None, Query(description="Opened at or after this time.")] = None,
    until: Annotated[str | None, Query(description="Opened before this time.")] = None,
    lang: Literal["zh", "en"] = "zh",
) -> Response:
    """Give every case and every step as a workbook, oldest case first."""
    container = container_of(request)
    wanted = CaseQuery(
        since=None if since is None else parse_time(since, "since"), until=None if until is None else parse_time(until, "until")
    )
    body = make_ledger(container, wanted, lang)
    container.access.audit_append(caller.actor, "read case ledger", "cases", {"since": since, "until": until})
    name = quote(f"问题台账-{container.clock():%Y%m%d}.xlsx")
    headers = {"Content-Disposition": f"attachment; filename=\"cases.xlsx\"; filename*=UTF-8''{name}"}
    return Response(body, media_type=XLSX, headers=headers)


def make_ledger(container: Any, wanted: CaseQuery, language: Literal["zh", "en"]) -> bytes:
    """Return the ledger of the cases that are wanted, oldest first."""
    cases: list[Case] = []
    place = None
    while True:
        page, place = container.cases.list_cases(wanted, after=place, limit=_LEDGER_PAGE)
        cases += page
        if place is None:
            break
    cases.sort(key=lambda case: (case.opened_at, case.code))
    node = container.registers.node()
    zone = ZoneInfo(node.zone if node else "Asia/Shanghai")
    events = {case.code: container.cases.events(case.code) for case in cases}
    return case_ledger_xlsx(cases, events, now=container.clock(), zone=zone, language=language)


@router.get("/{code}", summary="A case with every step", response_class=JSONResponse)
def show_case(request: Request, caller: MayReadCases, code: str) -> JSONResponse:
    """Give one case."""
    container = container_of(request)
    return JSONResponse(_detail(container, _find(container, code)))


@router.post("/{code}/steps", summary="Take a step", response_class=JSONResponse)
def take_step(request: Request, caller: MayHandleCases, code: str, said: Annotated[Step, Body()]) -> JSONResponse:
    """Take a step by name; 409 where it cannot follow, 403 where it is not this person's to take."""
    container = container_of(request)
    step = CaseStep(said.step)
    if step in _DECIDED_BY_A_SUPERVISOR and not caller.may(Permission.CONFIRM):
        raise PermissionDeniedError(
            f"the role {caller.role} may not {step.value} a case.", where="step", remedy="a supervisor takes this step"
        )
    given = said.model_dump(exclude={"step", "note"}, exclude_none=True)
    for name in ("due_at", "done_at"):
        if name in given:
            given[name] = parse_time(given[name], name).isoformat()
    if step is CaseStep.LINK and "alert" in given:
        given |= _alert_named(container, given["alert"])
    case = container.case_desk.take(code, step, _person(caller), container.clock(), said.note, given)
    return JSONResponse(_detail(container, case))


def _alert_named(container: Any, key: str) -> dict[str, Any]:
    alert = container.alerts.find_alert(int(key) if key.isdecimal() and len(key) < 19 else key)
    if alert is None:
        raise NotFoundError(
            f"there is no alert {key!r}.", where="alert", remedy="the alerts are listed at /api/v1/alerts?state=all"
        )
    return {"alert": alert.identifier, "station": alert.station}


@router.post("/{code}/follow-ups", summary="Follow up by data (跟踪)", response_class=JSONResponse)
def follow_up(request: Request, caller: MayHandleCases, code: str, said: Annotated[Comparison, Body()]) -> JSONResponse:
    """Compare a datastream before and after a measure and keep the outcome: improved, unchanged, worse, or cannot tell."""
    container = container_of(request)
    asked = FollowUp(said.datastream, parse_time(said.measure_at, "measure_at"), said.better, said.quantity, said.before_days)
    case, _ = container.case_desk.follow_up(code, asked, _person(caller), container.clock(), said.note)
    return JSONResponse(_detail(container, case))


@router.post("/{code}/attachments", status_code=201, summary="Attach a document", response_class=JSONResponse)
def attach(
    request: Request,
    caller: MayHandleCases,
    code: str,
    filename: Annotated[str, Query(min_length=1, max_length=200)],
    body: Annotated[bytes, Body(media_type="application/octet-stream")],
) -> JSONResponse:
    """Keep a document under its digest; the body is the document itself, at most 16 MiB."""
    container = container_of(request)
    person = _person(caller)
    if not body:
        raise InputError("the document is empty.", where="body", remedy="send its bytes as the body")
    if any(sign in filename for sign in "/\\\x00"):
        raise InputError("the name holds a path.", where="filename", remedy="give the name of the file alone")
    check_document(filename, body)
    _find(container, code)
    digest = hashlib.sha256(body).hexdigest()
    detail = {
        "filename": filename,
        "media_type": request.headers.get("content-type", "application/octet-stream")[:100],
        "sha256": digest,
        "bytes": len(body),
        "location": container.raw_files.keep(body, digest),
    }
    case = container.case_desk.take(code, CaseStep.ATTACH, person, container.clock(), "", detail)
    return JSONResponse(_detail(container, case), status_code=201)


@router.get("/{code}/attachments/{sha256}", summary="A document of a case", response_class=Response)
def show_attachment(request: Request, caller: MayReadCases, code: str, sha256: str) -> Response:
    """Give a document back, always as a download: what people upload is never run in our pages."""
    container = container_of(request)
    found = next((item for item in _find(container, code).attachments if item.sha256 == sha256), None)
    if found is None:
        raise NotFoundError("the case has no such document.", where="sha256", remedy="the case lists its attachments")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename)}"}
    return Response(container.raw_files.read(found.location), media_type="application/octet-stream", headers=headers)


def _find(container: Any, code: str) -> Case:
    case: Case | None = container.cases.case(code)
    if case is None:
        raise NotFoundError(f"there is no case {code!r}.", where="code", remedy="the cases are listed at /api/v1/cases")
    return case


def _person(caller: Caller) -> str:
    if caller.account_id is None or caller.name is None:
        raise PermissionDeniedError(
            "a step is taken by a named person.", remedy="log in with your own account; a key has no name"
        )
    return caller.name


def case_json(case: Case, now: datetime) -> dict[str, Any]:
    """Return a case as lists show it."""
    return {
        "code": case.code,
        "title": case.title,
        "description": case.description,
        "region_code": case.region_code,
        "origin": case.origin,
        "state": case.state.value,
        "state_zh": case.state.word_zh,
        "stations": list(case.stations),
        "alerts": list(case.alerts),
        "collected_by": case.collected_by,
        "opened_at": stamp(case.opened_at),
        "updated_at": stamp(case.updated_at),
        "owner": case.owner,
        "leader": case.leader,
        "handlers": sorted(case.handlers),
        "due_at": stamp(case.due_at),
        "overdue": case.is_overdue(now),
        "overdue_h": _hours(now - case.due_at) if case.due_at and case.is_overdue(now) else None,
        "escalated_to": case.escalated_to,
        "measures": list(case.measures),
        "effect": case.effect.value if case.effect else None,
        "verdict": case.verdict.value if case.verdict else None,
        "closed_by": case.closed_by,
        "closed_at": stamp(case.closed_at),
        "reopened": case.reopened,
        "attachments": [
            {"filename": item.filename, "media_type": item.media_type, "sha256": item.sha256, "bytes": item.bytes}
            for item in case.attachments
        ],
        "last_note": case.last_note,
    }


def _hours(late: timedelta) -> float:
    return round(late.total_seconds() / 3600, 1)


def _detail(container: Any, case: Case) -> dict[str, Any]:
    body = case_json(case, container.clock())
    body["steps"] = [_event_json(event) for event in container.cases.events(case.code)]
    taken_by_people = [step for step, states in MAY_FOLLOW.items() if case.state in states and step is not CaseStep.ESCALATE]
    body["possible_steps"] = [step.value for step in taken_by_people]
    body["states"] = [{"state": item.value, "state_zh": item.word_zh} for item in CaseState]
    result: dict[str, Any] = plain(body)
    return result


def _event_json(event: CaseEvent) -> dict[str, Any]:
    return {
        "number": event.number,
        "step": event.step.value,
        "step_zh": event.step.word_zh,
        "actor": event.actor,
        "recorded_at": stamp(event.recorded_at),
        "note": event.note,
        "detail": {name: value for name, value in event.detail.items() if name != "location"},
    }
