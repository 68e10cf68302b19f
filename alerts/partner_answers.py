"""Answers that are owed between partners: what was not answered within the time agreed is told on.

What is owed is read from stored messages and answers, so that a restart changes nothing; the step is a transition of the alert, written
in one transaction with the messages. Steps count from the hour at which the answer was due. This file finishes with `own_answer_overdue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerts.cases import EscalationStep, escalation_due
from alerts.escalation import noted, told_on
from alerts.store import AlertStore
from alerts.times import in_order
from domain.alert import AlertState, MessageType
from domain.alerting import AlertRecord, Notification, Receiver
from domain.foreign import ForeignAlert, OwedAnswer

KIND = "partner_overdue"
TOLD = "partners_told"
"""In the alert's memory, by partner: for which message its being overdue was noted, and to whom that was told last."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """An answer that is owed, and since when it is too late."""

    owed: OwedAnswer
    name_zh: str
    name_en: str
    due_at: datetime


def overdue_at(owed: OwedAnswer, within: timedelta) -> datetime:
    """Return from when on an answer is too late: the partner has the agreed time from when the message was put on its way."""
    return owed.since + within


class AnswerEscalator:
    """Notes and tells on answers that are overdue.

    Parameters
    ----------
    store
        Alerts and the outbox.
    steps
        Bodies and how long after the answer was due each is told; without any the step is noted all the same.
    """

    def __init__(self, store: AlertStore, steps: Sequence[EscalationStep]) -> None:
        self._store = store
        self._steps = steps

    def run(self, overdue: Sequence[Overdue], now: datetime) -> list[tuple[AlertRecord, Overdue]]:
        """Note what is newly overdue and tell the next body of each; return what was noted or told on."""
        done = [(self._tell(item, now), item) for item in overdue if item.due_at < now]
        return [(alert, item) for alert, item in done if alert is not None]

    def _tell(self, item: Overdue, now: datetime) -> AlertRecord | None:
        found = self._store.find_alert(item.owed.alert)
        if found is None or self._next(found, item, now) is None:
            return None
        with self._store.transaction([found.key]) as tx:
            current = tx.alert(found.alert_id or 0)
            now = in_order(current, now)
            step = self._next(current, item, now)
            if step is None or current.state is not AlertState.FIRING:
                return None
            to = step.to if isinstance(step, EscalationStep) else ""
            told = {**(current.memory.get(TOLD) or {}), item.owed.partner: {"message": item.owed.identifier, "to": to}}
            stored = tx.update_alert(replace(current, updated_at=now, memory={**current.memory, TOLD: told}))
            tx.add_transition(noted(stored, KIND, now, _reason(item, to)))
            issued = tx.cap_of(stored.alert_id or 0)
            tx.enqueue(self._messages(stored, item, to, issued[-1].body if issued else None, now))
            return stored

    def _next(self, alert: AlertRecord, item: Overdue, now: datetime) -> EscalationStep | bool | None:
        """Return the body that is to be told, True where only the fact is to be noted, None where nothing is."""
        before = (alert.memory.get(TOLD) or {}).get(item.owed.partner, {})
        known = before.get("message") == item.owed.identifier
        due = escalation_due(self._steps, item.due_at, before["to"] if known else None, now)
        return due if due is not None else None if known else True

    def _messages(self, alert: AlertRecord, item: Overdue, to: str, cap: str | None, now: datetime) -> list[Notification]:
        payload = _payload(alert, item, to, cap, now)
        return [
            Notification(
                f"{payload['identifier']}:{receiver.code}", receiver.code, MessageType.UPDATE, payload, now, now, alert.alert_id
            )
            for receiver in self._store.receivers()
            if to and receiver.enabled and to in (receiver.settings.get("escalations") or ())
        ]


def _reason(item: Overdue, to: str) -> str:
    told = f", told to {to}" if to else ""
    return f"no answer of partner {item.owed.partner} to {item.owed.identifier}, due {item.due_at.isoformat()}{told}"


def _payload(alert: AlertRecord, item: Overdue, to: str, cap: str | None, now: datetime) -> dict[str, Any]:
    owed, due = item.owed, item.due_at.isoformat()
    headline = {
        "zh": f"伙伴单位逾期未答复，上报{to}：{item.name_zh}",
        "en": f"Partner's answer overdue, told to {to}: {item.name_en}",
    }
    zh = "消息尚未送达。" if owed.delivered_at is None else f"消息已于 {owed.delivered_at.isoformat()} 送达。"
    en = (
        "The message has not been delivered."
        if owed.delivered_at is None
        else f"The message was delivered at {owed.delivered_at.isoformat()}."
    )
    explanation = {
        "zh": f"{item.name_zh}应于 {due} 前确认 {alert.level.word_zh}色预警 {owed.identifier}（{alert.scope}），至今未答复。{zh}",
        "en": f"{item.name_en} had to acknowledge the {alert.level.word} alert {owed.identifier} ({alert.scope}) by {due}; "
        f"it has not answered. {en}",
    }
    identifier = f"{owed.identifier}:answer:{owed.partner}:{to}"
    return told_on(alert, to, identifier, headline, explanation, cap, now) | {"partner": owed.partner, "due_at": due}


def own_answer_overdue(
    alert: ForeignAlert, to: str, due_at: datetime, receivers: Sequence[Receiver], now: datetime
) -> list[Notification]:
    """Return what a body is told of a partner's alert that nobody here took notice of in time; one key a message and body."""
    newest, due = alert.newest, due_at.isoformat()
    identifier = f"{alert.sender}:{newest.identifier}:unanswered:{to}"
    payload = {
        "version": 1,
        "kind": "escalation",
        "message_type": MessageType.UPDATE.value,
        "identifier": identifier,
        "sent": now.isoformat(),
        "status": alert.status.value,
        "escalated_to": to,
        "partner": alert.partner,
        "due_at": due,
        "headline": {
            "zh": f"伙伴单位预警逾期未确认，上报{to}：{newest.identifier}",
            "en": f"A partner's alert without our answer, told to {to}: {newest.identifier}",
        },
        "explanation": {
            "zh": f"{alert.sender} 的{alert.level.word_zh}色预警 {newest.identifier} 应于 {due} 前确认，至今无人确认知悉。",
            "en": f"The {alert.level.word} alert {newest.identifier} of {alert.sender} had to be acknowledged by {due}; nobody has.",
        },
        "cap": newest.body,
    }
    return [
        Notification(f"{identifier}:{receiver.code}", receiver.code, MessageType.UPDATE, payload, now, now)
        for receiver in receivers
        if receiver.enabled and to in (receiver.settings.get("escalations") or ())
    ]
