"""Why a message is not sent now, by name: out of service, shelved, silenced, inhibited, flapping or told with its group.

This file finishes with `why_held`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.matching import Labels, matches, silence_for
from alerts.policy import Grouping, Policy, group_key
from alerts.store import AlertTransaction
from domain.alert import AlertState, Level
from domain.alerting import OUT_OF_SERVICE, AlertRecord, Silence


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a message waits: `kind` is out_of_service, shelved, silence, inhibited, flapping or grouped; `reason` names who or what holds it."""

    kind: str
    reason: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Hiding:
    """A firing alert that may hide others, with its labels."""

    identifier: str
    labels: Labels


Hiders = Callable[[], Sequence[Hiding]]


def why_held(
    tx: AlertTransaction,
    alert: AlertRecord,
    labels: Labels,
    policy: Policy,
    silences: Sequence[Silence],
    hiders: Hiders,
    now: datetime,
) -> Hold | None:
    """Return the first reason that holds an alert's messages back now, or None.

    Shelving and flapping belong to rule and scope: they outlive the episode. What gets worse than when it was shelved is not held.
    """
    silence = silence_for(silences, labels, now)
    if silence is not None and silence.kind == OUT_OF_SERVICE:
        return Hold(OUT_OF_SERVICE, f"{silence.author}, until {silence.ends_at.isoformat()}: {silence.reason}")
    family = tx.alerts_of([alert.key]).get(alert.key, ())
    shelved = shelf_of(family, now)
    if shelved is not None and alert.level <= Level(shelved["level"]):
        return Hold("shelved", f"{shelved['by']}: {shelved['reason']}")
    if silence is not None:
        return Hold("silence", f"silence {silence.silence_id}: {silence.reason}")
    inhibited = _inhibited(alert, labels, policy, hiders)
    if inhibited is not None:
        return inhibited
    if _changes(tx, family, policy, now) > policy.changes:
        return Hold("flapping", f"more than {policy.changes} changes within {policy.window}")
    return _grouped(tx, alert, labels, policy)


def shelf_of(family: Sequence[AlertRecord], now: datetime) -> Mapping[str, Any] | None:
    """Return the shelving in force among the alerts of one rule and scope, or None."""
    for alert in family:
        shelved: Mapping[str, Any] | None = alert.memory.get("shelved")
        if shelved is not None and now < datetime.fromisoformat(shelved["until"]):
            return shelved
    return None


def _inhibited(alert: AlertRecord, labels: Labels, policy: Policy, hiders: Hiders) -> Hold | None:
    wanted = [rule for rule in policy.inhibition if matches(rule.hides, labels)]
    if not wanted:
        return None
    for hiding in hiders():
        if hiding.identifier == alert.identifier:
            continue
        for rule in wanted:
            agrees = all(set(labels.get(mine, ())) & set(hiding.labels.get(its, ())) for mine, its in rule.equal.items())
            if agrees and matches(rule.by, hiding.labels) and not _is_itself(labels, hiding.labels):
                return Hold("inhibited", f"{rule.code}: {hiding.identifier}")
    return None


def _is_itself(labels: Labels, other: Labels) -> bool:
    return (labels.get("rule"), labels.get("scope")) == (other.get("rule"), other.get("scope"))


def _changes(tx: AlertTransaction, family: Sequence[AlertRecord], policy: Policy, now: datetime) -> int:
    """Return how many messages the rule and scope have made within the window, the one that is to go included."""
    since = now - policy.window
    recent = [alert for alert in family if alert.updated_at >= since and alert.alert_id is not None]
    return sum(message.sent >= since for alert in recent for message in tx.cap_of(alert.alert_id or 0))


def grouping_of(policy: Policy, labels: Labels) -> Grouping | None:
    """Return the first grouping that an alert with these labels belongs to."""
    return next((grouping for grouping in policy.grouping if matches(grouping.match, labels)), None)


def _grouped(tx: AlertTransaction, alert: AlertRecord, labels: Labels, policy: Policy) -> Hold | None:
    grouping = grouping_of(policy, labels)
    if grouping is None or alert.level > grouping.up_to:
        return None
    key = group_key(grouping, labels)
    others = [item for item in tx.group(key) if item.alert_id != alert.alert_id]
    if len(others) + 1 < grouping.after:
        return None
    if alert.state is AlertState.RESOLVED and not any(item.state is AlertState.FIRING for item in others):
        return None  # the last one's end is told by itself
    return Hold("grouped", f"told with {len(others)} others", key)
