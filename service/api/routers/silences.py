"""Silences, maintenance windows, and what is out of service: until when, by whom and why.

This file finishes with `end_silence`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from alerts.matching import check_matchers
from domain.alerting import OUT_OF_SERVICE, Silence
from domain.errors import InputError, NotFoundError
from service.api.callers import MayConfirm, MayReadCases
from service.api.lookup import container_of
from service.api.parameters import listing, parse_time
from service.api.routers.alerts import named_person
from service.api.times import plain, stamp

router = APIRouter(prefix="/api/v1/silences", tags=["silences"])
LONGEST = timedelta(days=92)
"""A longer silence is a rule that should be changed, or a datastream that should be retired."""


LONGEST_OUT = timedelta(days=366)
"""What stays out of service for longer is retired, or its rule is switched off."""
OUT_LABELS = ("station", "datastream", "rule")
ADDED = {"silence": "add silence", OUT_OF_SERVICE: "take out of service"}
KindWord = Literal["silence", "out_of_service"]


class NewSilence(BaseModel):
    """What is held back: matchers of station, datastream, rule, kind, property, region, tag, level or status."""

    model_config = ConfigDict(extra="forbid")
    matchers: dict[str, Any] = Field(min_length=1)
    kind: KindWord = "silence"
    starts_at: str
    ends_at: str
    reason: str = Field(min_length=1, max_length=2000)


@router.get("", summary="Silences and maintenance windows", response_class=JSONResponse)
def list_silences(request: Request, caller: MayReadCases, in_force: bool = False, kind: KindWord | None = None) -> JSONResponse:
    """Give silences and what is out of service, or only one kind of them, or only what is in force now."""
    container = container_of(request)
    now = container.clock()
    found = container.alerts.silences(now if in_force else None)
    return JSONResponse(plain(listing([silence_json(item, now) for item in found if kind in (None, item.kind)], None)))


def silence_json(silence: Silence, now: Any) -> dict[str, Any]:
    """Return a silence as people see it."""
    return {
        "id": silence.silence_id,
        "kind": silence.kind,
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
    span = parse_time(said.starts_at, "starts_at"), parse_time(said.ends_at, "ends_at")
    silence = checked_silence(said.matchers, *span, who, said.reason, now, said.kind)
    refuse_unknown_places(container, silence)
    stored = container.alerts.add_silence(silence)
    container.access.audit_append(who, ADDED[stored.kind], str(stored.silence_id), silence_json(stored, now))
    return JSONResponse(plain(silence_json(stored, now)), status_code=201)


def refuse_unknown_places(container: Any, silence: Silence) -> None:
    """Refuse to take out of service what there is not; `NotFoundError`."""
    if silence.kind != OUT_OF_SERVICE:
        return
    known = {
        "station": container.registers.station,
        "datastream": container.registers.datastream,
        "rule": container.alerts.rule,
    }
    for name, codes in silence.matchers.items():
        for code in codes if isinstance(codes, list) else [codes]:
            if not set(code) & set("*?[") and known[name](code) is None:
                raise NotFoundError(f"there is no {name} {code!r}.", where=f"matchers.{name}", remedy=f"list the {name}s")


def checked_silence(
    matchers: dict[str, Any], starts_at: Any, ends_at: Any, author: str, reason: str, now: Any, kind: str = "silence"
) -> Silence:
    """Return a silence that can be stored; `InputError` names what is wrong with it."""
    check_matchers(matchers, "matchers")
    longest = LONGEST
    if kind == OUT_OF_SERVICE:
        longest = LONGEST_OUT
        if set(matchers) - set(OUT_LABELS):
            raise InputError(
                "only a sensor or a rule can be out of service.", where="matchers", remedy=f"name {', '.join(OUT_LABELS)}"
            )
    if not matchers or not reason.strip():
        raise InputError("a silence needs matchers and a reason.", where="silence", remedy="say what is held back, and why")
    if ends_at <= starts_at or ends_at <= now:
        raise InputError(
            "the silence would be over before it begins, or is past.", where="ends_at", remedy="choose an end to come"
        )
    if ends_at - starts_at > longest:
        raise InputError(
            f"at most {longest.days} days are possible.", where="ends_at", remedy="change the rule, or retire the instrument"
        )
    return Silence(matchers, starts_at, ends_at, author, reason.strip(), kind=kind)


@router.delete("/{number}", summary="End a silence now", response_class=JSONResponse)
def end_silence(request: Request, caller: MayConfirm, number: int) -> JSONResponse:
    """End a silence; what still fires and was held goes out."""
    container = container_of(request)
    who = named_person(caller)
    container.alerts.end_silence(number, who, container.clock())
    container.access.audit_append(who, "end silence", str(number), {})
    return JSONResponse({"id": number, "ended_by": who})
