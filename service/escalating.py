"""Tells on what is overdue: cases past their date, by the steps that this node is configured with.

Configuration of the node (`escalation.cases: [{to: county, after_h: 0}, ...]`); without it nothing is told on. This file finishes with
`escalate_cases`.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from alerts.case_desk import escalation_notifications
from alerts.cases import EscalationStep, read_escalation
from domain.case import Case
from service.bootstrap import Container
from storage.cases import CaseQuery

LOG = logging.getLogger("groundwatch.escalation")
PAGE = 500


def escalate_cases(container: Container) -> list[Case]:
    """Tell the next body of each overdue case and return those that were told on.

    The messages enter the outbox first and the step follows: whoever dies in between tells again under the same key.
    """
    node = container.registers.node()
    if node is None:
        return []
    configured: Any = dict(node.attributes.get("escalation") or {}).get("cases") or ()
    steps = read_escalation(configured, "node.escalation.cases")
    if not steps:
        return []
    now = container.clock()
    receivers = container.alerts.receivers()

    def tell(case: Case, due: EscalationStep) -> None:
        with container.alerts.transaction() as tx:
            tx.enqueue(escalation_notifications(case, due, receivers, node.code, now))
        LOG.info("case %s is overdue and told to %s", case.code, due.to)

    return container.case_desk.escalate(_overdue(container), steps, now, tell)


def _overdue(container: Container) -> list[Case]:
    found: list[Case] = []
    place = None
    for _ in count():
        page, place = container.cases.list_cases(CaseQuery(overdue_at=container.clock()), after=place, limit=PAGE)
        found += page
        if place is None:
            break
    return found
