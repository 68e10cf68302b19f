"""The event log of stations: listed, added, withdrawn, never deleted; and the answers to proposed steps that it takes.

This file finishes with `decide_proposal`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from domain.errors import NotFoundError, PermissionDeniedError, RequestError
from domain.model import EventEffect, EventKind, StationEvent
from service.api.callers import MayRead, MayWriteEvents
from service.api.lookup import container_of, visible_datastream, visible_station
from service.api.parameters import listing, parse_time
from service.api.shapes import event_json
from service.step_desk import StepDecision, decide_step, proposed_step

router = APIRouter(prefix="/api/v1", tags=["events"])


class NewEvent(BaseModel):
    """A dated fact about a station and what it does to its series."""

    model_config = ConfigDict(extra="forbid")
    station: str
    datastream: str | None = None
    kind: EventKind
    start: str = Field(description="RFC 3339 with an offset.")
    end: str | None = None
    effect: EventEffect = EventEffect.NONE
    size: float | None = Field(default=None, allow_inf_nan=False, description="A known offset, in the datastream's unit.")
    note: str | None = Field(default=None, max_length=2000)


@router.get("/events", summary="Event log of a station, oldest first")
def list_events(request: Request, caller: MayRead, station: str) -> dict[str, Any]:
    """Give the events of a station that were not withdrawn."""
    container = container_of(request)
    found = visible_station(container, caller, station)
    return listing([event_json(item) for item in container.registers.events(found.code)], None)


@router.post("/events", status_code=201, summary="Add an event to a station's log")
def add_event(request: Request, caller: MayWriteEvents, event: Annotated[NewEvent, Body()]) -> dict[str, Any]:
    """Add an event; every analysis of the station reads it from now on."""
    container = container_of(request)
    station = visible_station(container, caller, event.station)
    datastream = None if event.datastream is None else visible_datastream(container, caller, event.datastream)
    if datastream is not None and datastream.station.code != station.code:
        raise RequestError("the datastream belongs to another station.", where="datastream", remedy="correct one of the two")
    start = parse_time(event.start, "start")
    end = None if event.end is None else parse_time(event.end, "end")
    if end is not None and end < start:
        raise RequestError("`end` lies before `start`.", where="end", remedy="swap the two times")
    stored = container.registers.add_event(
        StationEvent(
            station=station.code,
            kind=event.kind,
            start=start,
            end=end,
            effect=event.effect,
            datastream=None if datastream is None else datastream.datastream.code,
            size=event.size,
            note=event.note,
            author=caller.actor,
        ),
        caller.actor,
    )
    return event_json(stored)


@router.delete("/events/{event_id}", status_code=204, summary="Withdraw an event")
def withdraw_event(request: Request, caller: MayWriteEvents, event_id: int) -> Response:
    """Withdraw an event: it stays in the log's history and no analysis reads it any more.

    Whoever is held to their own stations withdraws what they wrote themselves, never what a supervisor noted about them.
    """
    container = container_of(request)
    event = container.registers.event(event_id)
    if event is None or not caller.audience.sees(container.registers.station(event.station)):
        raise NotFoundError(f"there is no event {event_id}.", where="event_id", remedy="list the events of its station")
    if caller.stations is not None and event.author != caller.actor:
        raise PermissionDeniedError(
            "this event was written by somebody else.", where="event_id", remedy="ask a supervisor or an analyst to withdraw it"
        )
    container.registers.withdraw_event(event_id, caller.actor)
    return Response(status_code=204)


class Decision(BaseModel):
    """A person's answer to a proposed step."""

    model_config = ConfigDict(extra="forbid")
    decision: StepDecision
    kind: EventKind = Field(default=EventKind.OTHER, description="What happened at the station, where it is known.")
    note: str | None = Field(default=None, max_length=2000)


@router.post("/findings/{finding_id}/decision", status_code=201, summary="Confirm or refuse a proposed step")
def decide_proposal(
    request: Request, caller: MayWriteEvents, finding_id: int, said: Annotated[Decision, Body()]
) -> dict[str, Any]:
    """Write the answer into the event log: an offset where confirmed, `no_offset` where refused; give the event."""
    container = container_of(request)
    row = proposed_step(container, finding_id)
    datastream = container.registers.datastream_by_id(row.datastream_id)
    if datastream is None or not caller.audience.sees(container.registers.station(datastream.station)):
        raise NotFoundError(
            f"there is no finding {finding_id} that stands.", where="finding_id", remedy="list the findings again"
        )
    visible_datastream(container, caller, datastream.code)
    return event_json(decide_step(container, row, said.decision, said.kind, said.note, caller.actor))
