"""Silences and maintenance windows: what is held back, until when, by whom and why. This file finishes with `end_silence`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from alerts.matching import check_matchers
from domain.alerting import Silence
from domain.errors import InputError
from service.api.callers import MayConfirm, MayReadCases
from service.api.lookup import container_of
from service.api.parameters import listing, parse_time
from service.api.routers.alerts import named_person
from service.api.times import plain, stamp

router = APIRouter(prefix="/api/v1/silences", tags=["silences"])
LONGEST = timedelta(days=92)
"""A longer silence is a rule that should be changed, or a datastream that should be retired."""


class NewSilence(BaseModel):
    """What is held back: matchers of station, datastream, rule, kind, property, region, tag, level or status."""

    model_config = ConfigDict(extra="forbid")
    matchers: dict[str, Any] = Field(min_length=1)
    starts_at: str
    ends_at: str
    reason: str = Field(min_length=1, max_length=2000)


@router.get("", summary="Silences and maintenance windows", response_class=JSONResponse)
def list_silences(request: Request, caller: MayReadCases, in_force: bool = False) -> JSONResponse:
    """Give every silence, or only those in force now."""
    container = container_of(request)
    now = container.clock()
    found = container.alerts.silences(now if in_force else None)
    return JSONResponse(plain(listing([silence_json(item, now) for item in found], None)))


def silence_json(silence: Silence, now: Any) -> dict[str, Any]:
    """Return a silence as people see it."""
    return {
        "id": silence.silence_id,
        "matchers": dict(silence.matchers),
        "starts_at": stamp(silence.starts_at),
        "ends_at": stamp(silence.ends_at),
        "author": silence.author,
        "reason": silence.reason,
        "ended_by": silence.ended_by,
        "in_force": silence.starts_at <= now < silence.ends_at,
    }


@router.post("", status_code=201, summary="Hold messages back for a time", response_class=JSONResponse)
def add_silence(request: Request, caller: MayConfirm, said: Annotated[NewSilence, Body()]) -> JSONResponse:
    """Store a silence, e.g. a maintenance window. Evaluation goes on; what still fires when it ends is sent."""
    container = container_of(request)
    who, now = named_person(caller), container.clock()
    silence = checked_silence(
        said.matchers, parse_time(said.starts_at, "starts_at"), parse_time(said.ends_at, "ends_at"), who, said.reason, now
    )
    stored = container.alerts.add_silence(silence)
    container.access.audit_append(who, "add silence", str(stored.silence_id), silence_json(stored, now))
    return JSONResponse(plain(silence_json(stored, now)), status_code=201)


def checked_silence(matchers: dict[str, Any], starts_at: Any, ends_at: Any, author: str, reason: str, now: Any) -> Silence:
    """Return a silence that can be stored; `InputError` names what is wrong with it."""
    check_matchers(matchers, "matchers")
    if not matchers or not reason.strip():
        raise InputError("a silence needs matchers and a reason.", where="silence", remedy="say what is held back, and why")
    if ends_at <= starts_at or ends_at <= now:
        raise InputError(
            "the silence would be over before it begins, or is past.", where="ends_at", remedy="choose an end to come"
        )
    if ends_at - starts_at > LONGEST:
        raise InputError(f"at most {LONGEST.days} days can be silenced.", where="ends_at", remedy="change the rule instead")
    return Silence(matchers, starts_at, ends_at, author, reason.strip())


@router.delete("/{number}", summary="End a silence now", response_class=JSONResponse)
def end_silence(request: Request, caller: MayConfirm, number: int) -> JSONResponse:
    """End a silence; what still fires and was held goes out."""
    container = container_of(request)
    who = named_person(caller)
    container.alerts.end_silence(number, who, container.clock())
    container.access.audit_append(who, "end silence", str(number), {})
    return JSONResponse({"id": number, "ended_by": who})
