"""Where people take the steps of a case, and where overdue ones are told on: county, city, province.

Every step is checked against the case as it stands under its lock, and appended with the person's name. This file finishes with `CaseDesk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from alerts.case_effect import Better, Comparison, Quantity, effect_of, window_around
from alerts.cases import EscalationStep, check, escalation_due
from domain.alert import MessageType
from domain.alerting import Notification, Receiver
from domain.case import Case, CaseEvent, CaseState, CaseStep
from domain.errors import InputError, NotFoundError
from domain.model import Datastream
from domain.ports import ObservationReader

SYSTEM = "groundwatch"
_USABLE = (1, 2)
_UTC_EPOCH = np.datetime64(0, "us")
LONGEST_TEXT = 4000


class CaseStore(Protocol):
    """What the desk needs of storage."""

    def open(self, prefix: str, first: Callable[[str], CaseEvent]) -> Case:
        """Open the next case of a region and year."""

    def append(self, code: str, make: Callable[[Case], CaseEvent]) -> Case:
        """Append an event to a case under its lock."""

    def case(self, code: str) -> Case | None:
        """Return a case, or None."""


class CaseRegisters(Protocol):
    """What the desk asks of the registers."""

    def station(self, code: str) -> Any:
        """Return the station, or None."""

    def datastream(self, code: str) -> Datastream | None:
        """Return the datastream, or None."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What is said when a case is collected; `origin` says where it comes from (alert, person, patrol, report, partner)."""

    title: str
    description: str = ""
    region_code: str | None = None
    stations: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    origin: str = "person"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What a follow-up compares: a datastream before and after a measure, and which way is the good one."""

    datastream: str
    measure_at: datetime
    better: Better = "lower"
    quantity: Quantity = "level"
    before_days: float = 365.25


class CaseDesk:
    """Takes steps in the name of people.

    Parameters
    ----------
    store, observations, registers
        Ports.
    node_region
        GB/T 2260 code that numbers cases without a region of their own.
    zone
        The node's zone: a case belongs to the year that people live in.
    """

    def __init__(
        self, store: CaseStore, observations: ObservationReader, registers: CaseRegisters, node_region: str, zone: ZoneInfo
    ) -> None:
        self._store = store
        self._observations = observations
        self._registers = registers
        self._node_region = node_region
        self._zone = zone

    def collect(self, said: Collected, actor: str, now: datetime, note: str = "") -> Case:
        """Open a case (收集).

        Raises
        ------
        InputError
            No title, or a text that is too long.
        NotFoundError
            A station or alert that is named is not there.
        """
        if not said.title.strip():
            raise InputError("the case has no title.", where="title", remedy="say in a few words what is wrong and where")
        for name, text in (("title", said.title), ("description", said.description), ("note", note)):
            _refuse_long(text, name)
        for code in said.stations:
            if self._registers.station(code) is None:
                raise NotFoundError(f"there is no station {code!r}.", where="stations", remedy="correct the code")
        region = said.region_code or self._region_of(said.stations)
        prefix = f"{region or self._node_region}-{now.astimezone(self._zone).year}-"
        detail = {
            "title": said.title.strip(),
            "description": said.description,
            "region_code": region,
            "stations": list(said.stations),
            "alerts": list(dict.fromkeys(said.alerts)),
            "origin": said.origin,
        }
        return self._store.open(prefix, lambda code: CaseEvent(code, 1, CaseStep.COLLECT, actor, now, note, detail))

    def take(
        self, code: str, step: CaseStep, actor: str, now: datetime, note: str = "", detail: Mapping[str, Any] | None = None
    ) -> Case:
        """Take a step; ConflictError, PermissionDeniedError or InputError say why it cannot be taken."""
        _refuse_long(note, "note")
        if step in (CaseStep.COLLECT, CaseStep.FOLLOW_UP):
            raise InputError(
                f"{step.value} is not taken like this.", where="step", remedy="collect() opens, follow_up() compares"
            )

        def make(case: Case) -> CaseEvent:
            event = CaseEvent(code, case.last_number + 1, step, actor, now, note, dict(detail or {}))
            check(case, event, now)
            return event

        return self._store.append(code, make)

    def follow_up(self, code: str, asked: FollowUp, actor: str, now: datetime, note: str = "") -> tuple[Case, Comparison]:
        """Compare a datastream before and after a measure and keep what comes out (跟踪)."""
        _refuse_long(note, "note")
        found = self.compare(asked, now)

        def make(case: Case) -> CaseEvent:
            detail = {
                **found.to_json(),
                "datastream": asked.datastream,
                "measure_at": asked.measure_at.isoformat(),
                "before_days": asked.before_days,
            }
            event = CaseEvent(code, case.last_number + 1, CaseStep.FOLLOW_UP, actor, now, note, detail)
            check(case, event, now)
            return event

        return self._store.append(code, make), found

    def compare(self, asked: FollowUp, now: datetime) -> Comparison:
        """Return what a follow-up would say, and keep nothing."""
        datastream = self._registers.datastream(asked.datastream)
        if datastream is None or datastream.datastream_id is None:
            raise NotFoundError(f"there is no datastream {asked.datastream!r}.", where="datastream", remedy="correct the code")
        if asked.before_days <= 0:
            raise InputError(
                "the time before the measure is empty.", where="before_days", remedy="give a positive number of days"
            )
        start, end = window_around(asked.measure_at, now, asked.before_days)
        data = self._observations.series(datastream.datastream_id, start, end)
        usable = np.isin(data.quality, _USABLE) & np.isfinite(data.result)
        seconds = (data.time[usable].astype("datetime64[us]") - _UTC_EPOCH) / np.timedelta64(1, "s")
        return effect_of(
            np.asarray(seconds, dtype=np.float64),
            np.asarray(data.result[usable], dtype=np.float64),
            asked.measure_at.timestamp(),
            better=asked.better,
            quantity=asked.quantity,
        )

    def escalate(
        self,
        overdue: Sequence[Case],
        steps: Sequence[EscalationStep],
        now: datetime,
        tell: Callable[[Case, EscalationStep], None],
    ) -> list[Case]:
        """Tell the next body of each overdue case (`tell` first, then the step: a repeated telling carries the same key)."""
        told: list[Case] = []
        for case in overdue:
            due = case.due_at and escalation_due(steps, case.due_at, case.escalated_to, now)
            if not due:
                continue
            tell(case, due)
            told.append(self._store.append(case.code, lambda current, due=due: _escalation(current, due, now)))  # type: ignore[misc]
        return told

    def _region_of(self, stations: Sequence[str]) -> str | None:
        found = (self._registers.station(code) for code in stations)
        return next((station.region_code for station in found if station is not None and station.region_code), None)


def _escalation(case: Case, due: EscalationStep, now: datetime) -> CaseEvent:
    late = now - (case.due_at or now)
    note = f"overdue by {late.total_seconds() / 3600:.0f} h, told to {due.to}"
    event = CaseEvent(case.code, case.last_number + 1, CaseStep.ESCALATE, SYSTEM, now, note, {"to": due.to})
    check(case, event, now)
    return event


def escalation_notifications(
    case: Case, due: EscalationStep, receivers: Sequence[Receiver], node: str, now: datetime
) -> list[Notification]:
    """Return the messages to every receiver that hears what is told to that body (`escalations` in its settings)."""
    payload = {
        "version": 1,
        "kind": "case",
        "node": node,
        "message_type": MessageType.ALERT.value,
        "identifier": case.code,
        "sent": now.isoformat(),
        "status": "Actual",
        "case": {
            "code": case.code,
            "title": case.title,
            "state": case.state.value,
            "owner": case.owner,
            "leader": case.leader,
            "due_at": case.due_at.isoformat() if case.due_at else None,
            "escalated_to": due.to,
            "alerts": list(case.alerts),
            "stations": list(case.stations),
        },
        "headline": {"zh": f"问题逾期：{case.title}", "en": f"Case overdue: {case.title}"},
        "explanation": _overdue_words(case, due),
    }
    return [
        Notification(
            f"case:{case.code}:{due.to}:{case.due_at.isoformat() if case.due_at else ''}:{receiver.code}",
            receiver.code,
            MessageType.ALERT,
            payload,
            now,
            now,
        )
        for receiver in receivers
        if receiver.enabled and due.to in (receiver.settings.get("escalations") or ())
    ]


def _overdue_words(case: Case, due: EscalationStep) -> dict[str, str]:
    until = case.due_at.isoformat() if case.due_at else "-"
    state = CaseState(case.state)
    return {
        "zh": f"问题 {case.code}《{case.title}》应于 {until} 前办结，目前处于“{state.word_zh}”，责任单位：{case.owner or '未定'}，"
        f"牵头人：{case.leader or '未定'}。现上报至 {due.to}。",
        "en": f"Case {case.code} “{case.title}” was to be settled by {until} and is {state.value}; responsible: "
        f"{case.owner or 'nobody yet'}, led by {case.leader or 'nobody yet'}. It is told to: {due.to}.",
    }


def _refuse_long(text: str, name: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"{name} has {len(text)} characters, at most {LONGEST_TEXT} are kept.", where=name, remedy="attach a document"
        )
