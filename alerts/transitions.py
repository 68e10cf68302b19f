"""The steps in an alert's life: who took each, when, and what it is called. This file finishes with `transition_of`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.alert import AlertState
from domain.alerting import AlertRecord, Transition

SYSTEM = "groundwatch"
REALARMED = "realarmed"


@dataclass(frozen=True, slots=True)
class Turn:
    """Who changes an alert, why, and when it happened in event time."""

    now: datetime
    at: datetime
    actor: str = SYSTEM
    reason: str = ""
    kind: str | None = None


def transition_of(alert: AlertRecord, before: AlertRecord | None, turn: Turn) -> Transition:
    """Return the step from how an alert stood (None: it did not) to how it stands."""
    evidence = alert.evidence
    kept = {name: evidence.get(name) for name in ("at", "value", "sigma", "unit", "limit", "read_seq", "digest")}
    kind = turn.kind or _step(before, alert)
    return Transition(
        alert_id=alert.alert_id or 0,
        kind=kind,
        to_state=alert.state,
        occurred_at=turn.at,
        recorded_at=turn.now,
        actor=turn.actor,
        reason=turn.reason or str(evidence.get("reason") or kind),
        from_state=before.state if before else None,
        from_level=before.level if before else None,
        to_level=alert.level,
        evidence=kept,
    )


def _step(before: AlertRecord | None, after: AlertRecord) -> str:
    if before is None or (
        before.state is AlertState.PENDING and after.state is not AlertState.RESOLVED and after.state is not before.state
    ):
        return {AlertState.PENDING: "pending", AlertState.FIRING: "fired", AlertState.RESOLVED: "resolved"}[after.state]
    if after.state is not before.state:
        if after.state is AlertState.RESOLVED:
            return "resolved"
        return "reopened" if before.state is AlertState.RESOLVED else "withdrawn"
    if after.level != before.level:
        return "raised" if after.level > before.level else "lowered"
    return "corrected"
