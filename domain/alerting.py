"""Records of alerting: what the engine decides, what storage keeps, what the API shows.

Values only, no behaviour: rules with their versions, alerts with every transition, silences, receivers, the outbox and CAP messages.
`memory` is the machine's own notebook and is shown to nobody. This file finishes with `RuleState`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from domain.alert import AlertState, Confirmation, Level, MessageStatus, MessageType, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of a rule. A change is a new version, the old one stays; `definition` is validated by the rule's kind.

    `reason` says why this version is as it is, e.g. why it may give more alerts than the budget allows.
    """

    code: str
    kind: str
    name_zh: str
    name_en: str
    definition: Mapping[str, Any]
    source: str
    author: str
    version: int = 1
    effective_from: datetime | None = None
    enabled: bool = True
    recorded_at: datetime | None = None
    reason: str = ""


class RuleKey(NamedTuple):
    """One rule on one scope: what an episode, a state and a lock belong to. `scope` is a datastream or station code.

    A named tuple, because thousands are looked up with every evaluation.
    """

    rule_code: str
    scope: str


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One episode of one rule and scope, from its first breach to its end.

    `alert_id` is None until it is stored; `station` and `datastream` are codes and are read back by storage from the ids.
    `onset` and `ended` are event times, `opened_at` and `updated_at` are the service's.
    """

    identifier: str
    rule_code: str
    rule_version: int
    scope: str
    state: AlertState
    level: Level
    peak_level: Level
    onset: datetime
    verdict: Verdict
    confirmation: Confirmation
    evidence: Mapping[str, Any]
    opened_at: datetime
    updated_at: datetime
    ended: datetime | None = None
    station: str | None = None
    station_id: int | None = None
    datastream: str | None = None
    datastream_id: int | None = None
    confirmed_by: str | None = None
    confirmed_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_note: str | None = None
    status: MessageStatus = MessageStatus.ACTUAL
    memory: Mapping[str, Any] = field(default_factory=dict)
    alert_id: int | None = None
    ledger_seq: int | None = None

    @property
    def key(self) -> RuleKey:
        """The rule and scope that the episode belongs to."""
        return RuleKey(self.rule_code, self.scope)


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in the life of an alert. `occurred_at` is event time, `recorded_at` is the service's."""

    alert_id: int
    kind: str
    to_state: AlertState
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    reason: str
    from_state: AlertState | None = None
    from_level: Level | None = None
    to_level: Level | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    transition_id: int | None = None


OUT_OF_SERVICE = "out_of_service"


@dataclass(frozen=True, slots=True)
class Silence:
    """Holds back notifications that match, for a stated time and reason; evaluation goes on.

    One of kind `out_of_service` takes a sensor (station or datastream) or a rule out of service: what it says is not told, not told on
    and not announced anew until its end.
    `matchers` maps a field (rule, scope, station, datastream, kind, property, region, level, tag) to a glob or a list of globs.
    """

    matchers: Mapping[str, Any]
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    ended_by: str | None = None
    silence_id: int | None = None
    kind: str = "silence"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where notifications go. `outside` leaves the house, so it waits for a person's confirmation."""

    code: str
    kind: str
    settings: Mapping[str, Any]
    min_level: Level = Level.BLUE
    matchers: Mapping[str, Any] = field(default_factory=dict)
    outside: bool = False
    enabled: bool = True


class NotificationState(StrEnum):
    """Where a notification stands."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"
    BUNDLED = "bundled"


@dataclass(frozen=True, slots=True)
class Notification:
    """One message for one receiver. The idempotency key stays the same on every attempt and on replay."""

    idempotency_key: str
    receiver_code: str
    message_type: MessageType
    payload: Mapping[str, Any]
    created_at: datetime
    next_attempt_at: datetime
    alert_id: int | None = None
    state: NotificationState = NotificationState.WAITING
    attempts: int = 0
    sent_at: datetime | None = None
    last_error: str | None = None
    notification_id: int | None = None


@dataclass(frozen=True, slots=True)
class CapMessage:
    """One CAP message as issued; `reference_list` is CAP's references (`sender,identifier,sent` separated by spaces)."""

    identifier: str
    alert_id: int
    sender: str
    sent: datetime
    message_type: MessageType
    body: str
    reference_list: str = ""
    ledger_seq: int | None = None


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One version of what holds notifications back (inhibition, grouping, flapping, shelving) and of the alarm budget."""

    version: int
    content: Mapping[str, Any]
    author: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class RuleState:
    """Last verdict of one rule on one scope. `cannot_tell` is a work item of its own."""

    rule_code: str
    scope: str
    rule_version: int
    verdict: Verdict
    level: Level
    evaluated_at: datetime
    value: float | None = None
    reason: str = ""
    event_time: datetime | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> RuleKey:
        """The rule and scope."""
        return RuleKey(self.rule_code, self.scope)
