"""A step that the search proposed, confirmed or refused by a person: the event log carries the answer, and analyses read it there.

A confirmed step becomes an offset of the log at the proposed time, so that it is a column of the trajectory from the start; a refused
one becomes `no_offset` over the interval of its date, and no step is looked for there. This file finishes with `decide_step`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from domain.errors import ConflictError, NotFoundError, RequestError
from domain.finding import FindingKind
from domain.model import EventEffect, EventKind, StationEvent
from service.bootstrap import Container
from storage.analyses import FindingRow


class StepDecision(StrEnum):
    """What a person makes of a proposed step."""

    CONFIRM = "confirm"
    REFUSE = "refuse"


def proposed_step(container: Container, finding_id: int) -> FindingRow:
    """Return the row of a proposed step that stands, or `NotFoundError`; `RequestError` for findings of another kind."""
    rows = container.analyses.findings(after=finding_id - 1, limit=1)
    if not rows or rows[0].finding_id != finding_id:
        raise NotFoundError(
            f"there is no finding {finding_id} that stands.",
            where="finding_id",
            remedy="list the findings again: a newer analysis may have replaced it",
        )
    if rows[0].kind != FindingKind.STEP:
        raise RequestError(
            f"finding {finding_id} is a {rows[0].kind}, not a step.", where="finding_id", remedy="only proposed steps are decided"
        )
    return rows[0]


def decide_step(
    container: Container, row: FindingRow, decision: StepDecision, kind: EventKind, note: str | None, actor: str
) -> StationEvent:
    """Write a person's answer to a proposed step into the station's log; the datastream is analysed again.

    Parameters
    ----------
    row
        As :func:`proposed_step` gives it.
    kind
        What happened at the station, where the person knows it.
    actor
        Who decides.

    Raises
    ------
    ConflictError
        Where the log holds an answer to this step already.
    """
    datastream = container.registers.datastream_by_id(row.datastream_id)
    assert datastream is not None
    confirmed = decision is StepDecision.CONFIRM
    start = datetime.fromisoformat(row.parameters["time"]) if confirmed else row.start
    end = None if confirmed else row.end
    for event in container.registers.events(datastream.station):
        answers = event.effect in {EventEffect.OFFSET, EventEffect.NO_OFFSET} and event.datastream in {None, datastream.code}
        if answers and row.start <= event.start <= (row.end or row.start):
            raise ConflictError(
                f"event {event.event_id} of the log answers this step already.",
                where="finding_id",
                remedy="withdraw that event first, or wait until the datastream has been analysed again",
            )
    effect = EventEffect.OFFSET if confirmed else EventEffect.NO_OFFSET
    return container.registers.add_event(
        StationEvent(datastream.station, kind, start, end, effect, datastream.code, None, note, actor), actor
    )
