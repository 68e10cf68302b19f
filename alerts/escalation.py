"""Alerts that nobody acknowledged in time are told on: county, city, province.

The step is a transition of the alert, written in one transaction with the messages, so that it happens once. Escalation never acknowledges
and never changes the level. This file finishes with `told_on`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from alerts.cases import EscalationStep, escalation_due
from alerts.reconcile import is_history
from alerts.routing import Duty, open_time
from alerts.store import AlertFilter, AlertStore, AlertTransaction
from alerts.times import in_order
from alerts.transitions import SYSTEM
from domain.alert import AlertState, MessageStatus, MessageType
from domain.alerting import AlertRecord, Notification, Receiver, Transition

PAGE = 500


class Escalator:
    """Tells on what is firing and unacknowledged past its deadline.

    Parameters
    ----------
    store
        Alerts and the outbox.
    steps
        Bodies and how long after the alert was opened, or got worse than what was acknowledged, each is told; from the node's
        configuration.
    working
        Hours of duty: only they count towards a deadline, but for levels that are told on at any hour.
    zone
        The node's zone, in which they are meant.
    is_out
        Is what an alert is about out of service at a time? Then nobody is told on.
    """

    def __init__(
        self,
        store: AlertStore,
        steps: Sequence[EscalationStep],
        working: Duty | None = None,
        zone: tzinfo = UTC,
        is_out: Callable[[AlertRecord, datetime], bool] = lambda _alert, _now: False,
    ) -> None:
        self._store = store
        self._steps = steps
        self._working = working or Duty()
        self._zone = zone
        self._is_out = is_out

    def run(self, now: datetime) -> list[AlertRecord]:
        """Tell the next body of each overdue alert and return the alerts that were told on."""
        if not self._steps:
            return []
        receivers = self._store.receivers()
        told = (self._escalate(alert, receivers, now) for alert in self._unanswered(now))
        return [alert for alert in told if alert is not None]

    def _unanswered(self, now: datetime) -> list[AlertRecord]:
        wanted = AlertFilter(states=(AlertState.FIRING,), statuses=(MessageStatus.ACTUAL.value,))
        found: list[AlertRecord] = []
        place: str | None = None
        while True:
            page, place = self._store.list_alerts(wanted, after=place, limit=PAGE)
            found += [alert for alert in page if self._due(alert, now) is not None and not self._is_out(alert, now)]
            if place is None:
                return found

    def _due(self, alert: AlertRecord, now: datetime) -> EscalationStep | None:
        answered = alert.acknowledged_at is not None and "unanswered_since" not in alert.memory
        waits = alert.state is AlertState.FIRING and not answered and not is_history(alert)
        if not waits or alert.memory.get("suppressed"):
            return None
        since = _since(alert)
        waited = open_time(self._working, alert.level, since, now, self._zone)
        return escalation_due(self._steps, since, alert.memory.get("escalated_to"), since + waited)

    def _escalate(self, alert: AlertRecord, receivers: Sequence[Receiver], now: datetime) -> AlertRecord | None:
        with self._store.transaction([alert.key]) as tx:
            current = tx.alert(alert.alert_id or 0)
            now = in_order(current, now)
            due = self._due(current, now)
            if due is None:
                return None
            waited_h = (now - _since(current)).total_seconds() / 3600
            reason = f"not acknowledged for {waited_h:.1f} h, told to {due.to}"
            stored = tx.update_alert(replace(current, updated_at=now, memory={**current.memory, "escalated_to": due.to}))
            tx.add_transition(noted(stored, "escalated", now, reason))
            tx.enqueue(self._messages(tx, stored, due, receivers, now))
            return stored

    def _messages(
        self, tx: AlertTransaction, alert: AlertRecord, due: EscalationStep, receivers: Sequence[Receiver], now: datetime
    ) -> list[Notification]:
        issued = tx.cap_of(alert.alert_id or 0)
        payload = _payload(alert, due, issued[-1].body if issued else None, now)
        again = f"@{alert.level.word}" if alert.acknowledged_at is not None else ""
        return [
            Notification(
                f"{alert.identifier}:escalation:{due.to}{again}:{receiver.code}",
                receiver.code,
                MessageType.UPDATE,
                payload,
                now,
                now,
                alert.alert_id,
            )
            for receiver in receivers
            if receiver.enabled and due.to in (receiver.settings.get("escalations") or ())
        ]


def _since(alert: AlertRecord) -> datetime:
    """Return since when an answer is waited for."""
    again: str | None = alert.memory.get("unanswered_since")
    return alert.opened_at if again is None else datetime.fromisoformat(again)


def noted(alert: AlertRecord, kind: str, now: datetime, reason: str) -> Transition:
    """Return a step of the machine's that moves neither state nor level."""
    return Transition(
        alert_id=alert.alert_id or 0,
        kind=kind,
        to_state=alert.state,
        occurred_at=now,
        recorded_at=now,
        actor=SYSTEM,
        reason=reason,
        from_state=alert.state,
        from_level=alert.level,
        to_level=alert.level,
    )


def _payload(alert: AlertRecord, due: EscalationStep, cap: str | None, now: datetime) -> dict[str, Any]:
    scope, since = alert.scope, _since(alert).isoformat()
    headline = {"zh": f"预警无人响应，上报{due.to}：{scope}", "en": f"Alert without answer, told to {due.to}: {scope}"}
    level = alert.level
    explanation = {
        "zh": f"{level.word_zh}色预警 {alert.identifier}（{scope}）自 {since} 起无人确认知悉，现上报至 {due.to}。",
        "en": f"The {level.word} alert {alert.identifier} ({scope}) has not been acknowledged since {since}; it is told to {due.to}.",
    }
    return told_on(alert, due.to, f"{alert.identifier}:{due.to}", headline, explanation, cap, now)


def told_on(
    alert: AlertRecord,
    to: str,
    identifier: str,
    headline: Mapping[str, str],
    explanation: Mapping[str, str],
    cap: str | None,
    now: datetime,
) -> dict[str, Any]:
    """Return what a body that is told of something overdue gets."""
    return {
        "version": 1,
        "kind": "escalation",
        "message_type": MessageType.UPDATE.value,
        "identifier": identifier,
        "sent": now.isoformat(),
        "status": alert.status.value,
        "escalated_to": to,
        "alert": {
            "identifier": alert.identifier,
            "rule": alert.rule_code,
            "scope": alert.scope,
            "station": alert.station,
            "datastream": alert.datastream,
            "state": alert.state.value,
            "level": alert.level.word,
            "peak_level": alert.peak_level.word,
            "onset": alert.onset.isoformat(),
            "value": alert.evidence.get("value"),
            "unit": alert.evidence.get("unit"),
            "limit": alert.evidence.get("limit"),
        },
        "headline": dict(headline),
        "explanation": dict(explanation),
        **({"cap": cap} if cap else {}),
    }
