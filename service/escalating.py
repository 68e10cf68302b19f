"""Tells on what is overdue, by the steps that this node is configured with: cases past their date, alerts that nobody acknowledged.

Configuration of the node (`escalation: {cases: [{to: county, after_h: 0}, ...], acknowledgement: [...], working: {windows: [...]}}`);
without it nothing is told on.
This file finishes with `escalate_cases`.
"""

from __future__ import annotations

import logging
from typing import Any
from zoneinfo import ZoneInfo

from alerts.case_desk import escalation_notifications
from alerts.cases import EscalationStep, read_escalation
from alerts.escalation import Escalator
from alerts.routing import read_duty
from domain.alerting import AlertRecord
from domain.case import Case
from service.bootstrap import Container
from storage.cases import CaseQuery

LOG = logging.getLogger("groundwatch.escalation")
PAGE = 500


def escalate(container: Container) -> None:
    """Tell on both."""
    escalate_alerts(container)
    escalate_cases(container)


def escalate_alerts(container: Container) -> list[AlertRecord]:
    """Tell the next body of each unanswered alert and return those that were told on."""
    node = container.registers.node()
    zone = ZoneInfo(node.zone if node else "Asia/Shanghai")
    working = dict(node.attributes.get("escalation") or {}).get("working") if node else None
    duty = read_duty({"hours": working} if working else {}, "node.escalation.working")
    told = Escalator(container.alerts, _steps(container, "acknowledgement"), duty, zone).run(container.clock())
    for alert in told:
        LOG.info("alert %s has no answer and is told to %s", alert.identifier, alert.memory.get("escalated_to"))
    return told


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

    return container.case_desk.escalate(_overdue(container), steps, now, tell)


def _steps(container: Container, matter: str) -> tuple[EscalationStep, ...]:
    node = container.registers.node()
    configured: Any = dict(node.attributes.get("escalation") or {}).get(matter) if node else None
    return read_escalation(configured or (), f"node.escalation.{matter}")


def _overdue(container: Container) -> list[Case]:
    found: list[Case] = []
    place = None
    while True:
        page, place = container.cases.list_cases(CaseQuery(overdue_at=container.clock()), after=place, limit=PAGE)
        found += page
        if place is None:
            return found
