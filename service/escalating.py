"""Tells on what is overdue: cases past their date, alerts that nobody acknowledged, and answers that partners owe each other.

Configuration of the node (`escalation: {cases: [{to: county, after_h: 0}, ...], acknowledgement: [...], partners: [...]}`, with
`working: {windows: [...]}`); without it nothing is told on. Without steps of their own, answers go the way of the acknowledgements.
This file finishes with `escalate_cases`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from alerts.case_desk import escalation_notifications
from alerts.cases import EscalationStep, escalation_due, read_escalation
from alerts.escalation import Escalator
from alerts.partner_answers import AnswerEscalator, Overdue, overdue_at, own_answer_overdue
from alerts.routing import read_duty
from domain.alerting import AlertRecord
from domain.case import Case
from domain.foreign import ForeignAlert
from service.bootstrap import Container
from service.foreign_desk import answers_due
from service.sharing.agreement import agreement_of
from storage.cases import CaseQuery
from storage.foreign import ForeignQuery

LOG = logging.getLogger("groundwatch.escalation")
PAGE = 500


def escalate(container: Container) -> None:
    """Tell on all of them."""
    escalate_alerts(container)
    escalate_answers(container)
    escalate_own_answers(container)
    escalate_cases(container)


def escalate_alerts(container: Container) -> list[AlertRecord]:
    """Tell the next body of each unanswered alert and return those that were told on."""
    node = container.registers.node()
    zone = ZoneInfo(node.zone if node else "Asia/Shanghai")
    working = dict(node.attributes.get("escalation") or {}).get("working") if node else None
    duty = read_duty({"hours": working} if working else {}, "node.escalation.working")
    told = Escalator(container.alerts, _steps(container, "acknowledgement"), duty, zone, container.engine.is_out_of_service).run(
        container.clock()
    )
    for alert in told:
        LOG.info("alert %s has no answer and is told to %s", alert.identifier, alert.memory.get("escalated_to"))
    return told


def escalate_answers(container: Container) -> list[AlertRecord]:
    """Tell the next body of each answer that a partner owes for longer than agreed and return the alerts that it is about."""
    steps = _steps(container, "partners") or _steps(container, "acknowledgement")
    now = container.clock()  # before what was answered is read: an answer that came in time is seen
    told = AnswerEscalator(container.alerts, steps).run(owed_answers(container), now)
    for alert, item in told:
        LOG.info("partner %s has not answered alert %s in time", item.owed.partner, alert.identifier)
    return [alert for alert, _ in told]


def owed_answers(container: Any) -> list[Overdue]:
    """Return every answer that a partner owes by its agreement, too late or not yet, the one that is due soonest first."""
    found = []
    for partner in container.access.partners():
        agreement = agreement_of(partner) if partner.enabled else None
        if agreement is None or not agreement.senders:
            continue
        within, receiver = agreement.acknowledge_within, agreement.reply_to
        if within is None or receiver is None:
            continue
        owed = container.foreign.owed_answers(partner.code, receiver)
        found += [Overdue(item, partner.name_zh, partner.name_en, overdue_at(item, within)) for item in owed]
    return sorted(found, key=lambda item: (item.due_at, item.owed.partner, item.owed.alert_id))


def escalate_own_answers(container: Container) -> list[ForeignAlert]:
    """Tell the next body of each partner's alert that nobody here took notice of within the time agreed; return those told on."""
    steps, now = _steps(container, "partners") or _steps(container, "acknowledgement"), container.clock()
    open_ones = _unacknowledged(container)
    due = answers_due(container, open_ones)
    late = [(alert, due[alert.foreign_id]) for alert in open_ones if alert.foreign_id in due]
    return [
        alert for alert, at in late if (step := escalation_due(steps, at, None, now)) and _tell_own(container, alert, step, at)
    ]


def _unacknowledged(container: Container) -> list[ForeignAlert]:
    wanted = ForeignQuery(states=("active",), statuses=("Actual",), acknowledged=False)
    found: list[ForeignAlert] = []
    place = None
    while True:
        page, place = container.foreign.list_alerts(wanted, after=place, limit=PAGE)
        found += page
        if place is None:
            return found


def _tell_own(container: Container, alert: ForeignAlert, step: EscalationStep, at: datetime) -> bool:
    """Put the messages into the outbox; their keys name message and body, so that each is told once."""
    messages = own_answer_overdue(alert, step.to, at, container.alerts.receivers(), container.clock())
    with container.alerts.transaction() as tx:
        new = tx.enqueue(messages)
    if new:
        subject = f"{alert.sender} {alert.newest.identifier}"
        container.access.audit_append("groundwatch", "our answer overdue", subject, {"due_at": at.isoformat(), "told": step.to})
        LOG.info("nobody took notice of alert %s of %s in time; told to %s", alert.newest.identifier, alert.sender, step.to)
    return bool(new)


def escalate_cases(container: Container) -> list[Case]:
    """Tell the next body of each overdue case and return those that were told on.

    The messages enter the outbox first and the step follows: whoever dies in between tells again under the same key.
    """
    steps = _steps(container, "cases")
    if not steps:
        return []
    now = container.clock()
    receivers = container.alerts.receivers()
    node = container.registers.node()

    def tell(case: Case, due: EscalationStep) -> None:
        with container.alerts.transaction() as tx:
            tx.enqueue(escalation_notifications(case, due, receivers, node.code if node else "", now))
        LOG.info("case %s is overdue and told to %s", case.code, due.to)

    return container.case_desk.escalate(_overdue(container, now), steps, now, tell)


def _steps(container: Container, matter: str) -> tuple[EscalationStep, ...]:
    node = container.registers.node()
    configured: Any = dict(node.attributes.get("escalation") or {}).get(matter) if node else None
    return read_escalation(configured or (), f"node.escalation.{matter}")


def _overdue(container: Container, now: datetime) -> list[Case]:
    found: list[Case] = []
    place = None
    while True:
        page, place = container.cases.list_cases(CaseQuery(overdue_at=now), after=place, limit=PAGE)
        found += page
        if place is None:
            return found
