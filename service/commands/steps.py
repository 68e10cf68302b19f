"""`step list|confirm|refuse`: the steps that the search proposes, and a person's answer to each in the event log.

This file finishes with `answer`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from domain.errors import NotFoundError, RequestError
from domain.finding import FindingKind
from domain.model import EventKind
from service.bootstrap import Container
from service.commands.output import emit, jsonable, say
from service.settings import load_settings
from service.step_desk import StepDecision, decide_step, proposed_step
from storage.analyses import FindingRow

PAGE = 1000


def proposals(container: Container, datastream: str | None = None) -> Iterator[tuple[str, FindingRow]]:
    """Yield the proposed steps that stand, with the code of their datastream, in the order in which they were found."""
    found = None if datastream is None else container.registers.datastream(datastream)
    if datastream is not None and found is None:
        raise NotFoundError(f"there is no datastream {datastream}.", remedy="list them: groundwatch datastream list")
    wanted = None if found is None else found.datastream_id
    after = 0
    while rows := container.analyses.findings(wanted, after=after, limit=PAGE):
        for row in rows:
            owner = container.registers.datastream_by_id(row.datastream_id) if row.kind == FindingKind.STEP else None
            if owner is not None:
                yield owner.code, row
        after = rows[-1].finding_id


def show(arguments: argparse.Namespace) -> int:
    """List the proposed steps."""
    with Container(load_settings({"home": arguments.home})) as container:
        for code, row in proposals(container, arguments.datastream):
            time = row.parameters.get("time", row.start.isoformat())
            if arguments.json:
                told = {"id": row.finding_id, "datastream": code, "time": time, "start": row.start, "end": row.end}
                emit(jsonable(told | {"size": row.size, "sigma": row.sigma, "unit": row.unit, "score": row.score}))
            else:
                spread = "" if row.sigma is None else f" ± {row.sigma:.2g}"
                say(f"{row.finding_id}: {code} {time} {row.size or 0.0:+.4g}{spread} {row.unit}")
    return 0


def _kind(text: str) -> EventKind:
    try:
        return EventKind(text)
    except ValueError:
        raise RequestError(f"{text!r} is no kind of event.", where="--kind", remedy=f"one of {', '.join(EventKind)}") from None


def answer(arguments: argparse.Namespace) -> int:
    """Confirm or refuse a proposed step: the event log carries the answer."""
    with Container(load_settings({"home": arguments.home})) as container:
        row = proposed_step(container, arguments.id)
        decision = StepDecision(arguments.action)
        kind = _kind(arguments.kind) if decision is StepDecision.CONFIRM else EventKind.OTHER
        event = decide_step(container, row, decision, kind, arguments.note, arguments.by)
    if arguments.json:
        emit(jsonable({"ok": True, "event": event.event_id, "effect": event.effect, "start": event.start}))
    else:
        say(f"event {event.event_id} of {event.station}: {event.effect} at {event.start.isoformat()}")
    return 0
