"""The closed loop 收集 核实 交办 处置 跟踪 销号 and 重开, as a fold over steps and a table of what may follow what.

A case is nothing but its events: `fold` tells where it stands, `check` refuses a step that may not follow, and storage appends. Who led or
handled a case never closes it; it is closed on shown effect, or with a stated reason why not. This file finishes with `escalation_due`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.case import Attachment, Case, CaseEvent, CaseState, CaseStep, CaseVerdict, Effect
from domain.errors import ConflictError, InputError, PermissionDeniedError

_OPEN = frozenset(CaseState) - {CaseState.CLOSED}
_HANDED_OUT = frozenset({CaseState.ASSIGNED, CaseState.HANDLING, CaseState.TRACKING})

MAY_FOLLOW: Mapping[CaseStep, frozenset[CaseState]] = {
    CaseStep.VERIFY: frozenset({CaseState.COLLECTED}),
    CaseStep.DISMISS: frozenset({CaseState.COLLECTED}),
    CaseStep.ASSIGN: frozenset({CaseState.VERIFIED}) | _HANDED_OUT,
    CaseStep.HANDLE: _HANDED_OUT,
    CaseStep.FOLLOW_UP: frozenset({CaseState.HANDLING, CaseState.TRACKING}),
    CaseStep.CLOSE: frozenset({CaseState.TRACKING}),
    CaseStep.REOPEN: frozenset({CaseState.CLOSED}),
    CaseStep.LINK: _OPEN,
    CaseStep.ATTACH: _OPEN,
    CaseStep.COMMENT: _OPEN,
    CaseStep.ESCALATE: _OPEN,
}
"""In which states each step may be taken; `COLLECT` opens the case."""


def fold(events: Sequence[CaseEvent]) -> Case:
    """Return the case that its events tell, in the order of their numbers.

    Raises
    ------
    InputError
        No events, or the first one does not open the case.
    """
    if not events or events[0].step is not CaseStep.COLLECT:
        raise InputError("a case begins with its collection.", remedy="collect it first")
    case = _opened(events[0])
    for event in events[1:]:
        case = step(case, event)
    return case


def step(case: Case, event: CaseEvent) -> Case:
    """Return the case after one more event."""
    moved = _STEPS[event.step](case, event)
    return replace(moved, updated_at=event.recorded_at, last_number=event.number, last_note=event.note or moved.last_note)


def check(case: Case, event: CaseEvent, now: datetime) -> None:
    """Refuse a step that may not follow, that says too little, or that is not this person's to take.

    Raises
    ------
    ConflictError
        The state of the case does not allow the step.
    PermissionDeniedError
        A handler would close the own case.
    InputError
        Something that the step needs is missing.
    """
    if case.state not in MAY_FOLLOW.get(event.step, frozenset()):
        allowed = [name.value for name, states in MAY_FOLLOW.items() if case.state in states]
        raise ConflictError(
            f"case {case.code} is {case.state.value} ({case.state.word_zh}): {event.step.value} ({event.step.word_zh}) cannot follow.",
            where=case.code,
            remedy=f"possible now: {', '.join(allowed)}",
        )
    checker = _CHECKS.get(event.step)
    if checker is not None:
        checker(case, event, now)


# -- what each step needs ---------------------------------------------------------------------------------------------------


def _needs_note(what: str) -> Callable[[Case, CaseEvent, datetime], None]:
    def checker(case: Case, event: CaseEvent, now: datetime) -> None:
        del now
        if not event.note.strip():
            raise InputError(f"{what}.", where=f"{case.code} note", remedy="write it into the note")

    return checker


def _text(case: Case, event: CaseEvent, name: str, what: str) -> str:
    value = str(event.detail.get(name) or "").strip()
    if not value:
        raise InputError(f"{what} is missing.", where=f"{case.code} {name}", remedy=f"give {name}")
    return value


def _check_assign(case: Case, event: CaseEvent, now: datetime) -> None:
    _text(case, event, "owner", "the responsible body (责任单位)")
    _text(case, event, "leader", "the leader (牵头人)")
    due = datetime.fromisoformat(_text(case, event, "due_at", "the date until which it is to be settled"))
    if due <= now:
        raise InputError(f"{due.isoformat()} is past.", where=f"{case.code} due_at", remedy="give a date to come")


def _check_handle(case: Case, event: CaseEvent, now: datetime) -> None:
    _text(case, event, "measure", "the measure taken")
    done = event.detail.get("done_at")
    if done is not None and datetime.fromisoformat(str(done)) > now:
        raise InputError(
            "a measure that is still to come was not taken.", where=f"{case.code} done_at", remedy="record it when done"
        )


def _check_close(case: Case, event: CaseEvent, now: datetime) -> None:
    del now
    if event.actor in case.handlers:
        raise PermissionDeniedError(
            f"{event.actor} handled or led case {case.code} and cannot close it.",
            where=case.code,
            remedy="somebody else closes it (销号由非处置人办理)",
        )
    _verdict(case, event)
    if case.effect is not Effect.IMPROVED and not event.note.strip():
        found = "nothing" if case.effect is None else case.effect.value
        raise InputError(
            f"the follow-up shows {found}, not an effect.",
            where=f"{case.code} note",
            remedy="follow up with observations that show the effect, or state in the note why it is closed without",
        )


def _check_dismiss(case: Case, event: CaseEvent, now: datetime) -> None:
    _needs_note("a case is dismissed with a reason")(case, event, now)
    if _verdict(case, event) is CaseVerdict.REAL:
        raise InputError("a real case is not dismissed.", where=f"{case.code} verdict", remedy="verify and assign it")


def _verdict(case: Case, event: CaseEvent) -> CaseVerdict:
    value = _text(case, event, "verdict", "the verdict")
    try:
        return CaseVerdict(value)
    except ValueError:
        words = ", ".join(word.value for word in CaseVerdict)
        raise InputError(f"{value!r} is no verdict.", where=f"{case.code} verdict", remedy=f"use one of {words}") from None


def _check_link(case: Case, event: CaseEvent, now: datetime) -> None:
    del now
    alert = _text(case, event, "alert", "the alert's identifier")
    if alert in case.alerts:
        raise ConflictError(
            f"alert {alert} belongs to case {case.code} already.", where=case.code, remedy="nothing is to be done"
        )


_CHECKS: Mapping[CaseStep, Callable[[Case, CaseEvent, datetime], None]] = {
    CaseStep.VERIFY: _needs_note("what was verified, and how, is missing"),
    CaseStep.DISMISS: _check_dismiss,
    CaseStep.ASSIGN: _check_assign,
    CaseStep.HANDLE: _check_handle,
    CaseStep.CLOSE: _check_close,
    CaseStep.REOPEN: _needs_note("a case is reopened with a reason"),
    CaseStep.COMMENT: _needs_note("the comment is empty"),
    CaseStep.LINK: _check_link,
}


# -- what each step does ----------------------------------------------------------------------------------------------------


def _opened(event: CaseEvent) -> Case:
    said = event.detail
    return Case(
        code=event.case_code,
        title=str(said["title"]),
        description=str(said.get("description") or ""),
        region_code=said.get("region_code"),
        origin=str(said.get("origin") or "person"),
        stations=tuple(said.get("stations") or ()),
        alerts=tuple(said.get("alerts") or ()),
        state=CaseState.COLLECTED,
        collected_by=event.actor,
        opened_at=event.recorded_at,
        updated_at=event.recorded_at,
        last_number=event.number,
        last_note=event.note,
    )


def _verify(case: Case, event: CaseEvent) -> Case:
    del event
    return replace(case, state=CaseState.VERIFIED)


def _end(case: Case, event: CaseEvent) -> Case:
    return replace(
        case,
        state=CaseState.CLOSED,
        verdict=CaseVerdict(str(event.detail["verdict"])),
        closed_by=event.actor,
        closed_at=event.recorded_at,
    )


def _assign(case: Case, event: CaseEvent) -> Case:
    said = event.detail
    return replace(
        case,
        state=CaseState.ASSIGNED if case.state is CaseState.VERIFIED else case.state,
        owner=str(said["owner"]),
        leader=str(said["leader"]),
        due_at=datetime.fromisoformat(str(said["due_at"])),
        handlers=case.handlers | {str(said["leader"])},
        escalated_to=None,
    )


def _handle(case: Case, event: CaseEvent) -> Case:
    return replace(
        case,
        state=CaseState.HANDLING,
        handlers=case.handlers | {event.actor},
        measures=(*case.measures, str(event.detail["measure"])),
        effect=None,
    )


def _follow_up(case: Case, event: CaseEvent) -> Case:
    return replace(case, state=CaseState.TRACKING, effect=Effect(str(event.detail["effect"])))


def _reopen(case: Case, event: CaseEvent) -> Case:
    del event
    return replace(
        case,
        state=CaseState.VERIFIED,
        verdict=None,
        closed_by=None,
        closed_at=None,
        due_at=None,
        effect=None,
        escalated_to=None,
        reopened=case.reopened + 1,
    )


def _link(case: Case, event: CaseEvent) -> Case:
    station = event.detail.get("station")
    stations = case.stations if station is None or station in case.stations else (*case.stations, str(station))
    return replace(case, alerts=(*case.alerts, str(event.detail["alert"])), stations=stations)


def _attach(case: Case, event: CaseEvent) -> Case:
    said = event.detail
    document = Attachment(
        str(said["filename"]), str(said["media_type"]), str(said["sha256"]), int(said["bytes"]), str(said["location"])
    )
    return replace(case, attachments=(*case.attachments, document))


def _escalate(case: Case, event: CaseEvent) -> Case:
    return replace(case, escalated_to=str(event.detail["to"]))


def _unmoved(case: Case, event: CaseEvent) -> Case:
    del event
    return case


_STEPS: Mapping[CaseStep, Callable[[Case, CaseEvent], Case]] = {
    CaseStep.VERIFY: _verify,
    CaseStep.DISMISS: _end,
    CaseStep.ASSIGN: _assign,
    CaseStep.HANDLE: _handle,
    CaseStep.FOLLOW_UP: _follow_up,
    CaseStep.CLOSE: _end,
    CaseStep.REOPEN: _reopen,
    CaseStep.LINK: _link,
    CaseStep.ATTACH: _attach,
    CaseStep.COMMENT: _unmoved,
    CaseStep.ESCALATE: _escalate,
}


# -- overdue ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """Whom an overdue matter is told to, and how long after its date: county, city, province (configuration of the node)."""

    to: str
    after: timedelta


def read_escalation(steps: Sequence[Mapping[str, Any]], where: str) -> tuple[EscalationStep, ...]:
    """Return the steps of a configuration, shortest wait first; `InputError` for a step without a body or a time.

    Examples
    --------
    >>> read_escalation([{"to": "county", "after_h": 0}, {"to": "city", "after_h": 168}], "node.escalation.cases")[1].to
    'city'
    """
    found = []
    for place, entry in enumerate(steps):
        to, after_h = entry.get("to"), entry.get("after_h")
        if not isinstance(to, str) or not to or not isinstance(after_h, int | float) or isinstance(after_h, bool) or after_h < 0:
            raise InputError(f"{dict(entry)!r} is no step.", where=f"{where}[{place}]", remedy="write {to: city, after_h: 168}")
        found.append(EscalationStep(to, timedelta(hours=float(after_h))))
    names = [item.to for item in found]
    if len(set(names)) != len(names):
        raise InputError("a body stands twice.", where=where, remedy="give each body once")
    return tuple(sorted(found, key=lambda item: item.after))


def escalation_due(steps: Sequence[EscalationStep], deadline: datetime, told: str | None, now: datetime) -> EscalationStep | None:
    """Return the furthest step that is due and not yet told, or None.

    A worker that was down for weeks tells the furthest body at once, instead of one a run.
    """
    due = [item for item in steps if deadline + item.after < now]
    if not due:
        return None
    names = [item.to for item in steps]
    reached = names.index(told) if told in names else -1
    return due[-1] if len(due) - 1 > reached else None
