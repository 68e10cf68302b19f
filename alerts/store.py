"""The port through which the engine and the dispatcher reach storage.

Reads stand alone; everything that changes an alert goes through one transaction, so that an alert, its transition, its CAP message and
its notifications become visible together or not at all. This file finishes with `AlertStore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.alert import AlertState, Level
from domain.alerting import (
    AlertRecord,
    CapMessage,
    Notification,
    NotificationState,
    Receiver,
    Rule,
    RuleKey,
    RuleState,
    Silence,
    StoredPolicy,
    Transition,
)


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts to list; an empty tuple or None means any."""

    states: tuple[AlertState, ...] = ()
    levels: tuple[Level, ...] = ()
    rule_code: str | None = None
    station: str | None = None
    datastream: str | None = None
    acknowledged: bool | None = None
    since: datetime | None = None
    statuses: tuple[str, ...] = ()


class AlertTransaction(Protocol):
    """One unit of work. Leaving the block commits, an exception rolls everything back.

    The first write of an alert, transition or CAP message appends one ledger entry of kind `alert`; `put_states` alone appends none.
    """

    def states(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, RuleState]:
        """Return the stored states of these keys; keys never evaluated are left out."""

    def alerts_of(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, Sequence[AlertRecord]]:
        """Return every alert of these keys, open or resolved, oldest onset first."""

    def alert(self, alert_id: int) -> AlertRecord:
        """Return one alert, locked for update; NotFoundError."""

    def group(self, key: str) -> Sequence[AlertRecord]:
        """Return the alerts of a group (`memory.group`) that fire, or whose messages wait to be told with it."""

    def put_states(self, states: Sequence[RuleState]) -> None:
        """Insert or replace states."""

    def add_alert(self, alert: AlertRecord) -> AlertRecord:
        """Insert an alert and return it with its id; ConflictError where the key already has an open one."""

    def update_alert(self, alert: AlertRecord) -> AlertRecord:
        """Replace every mutable field of the alert `alert.alert_id`."""

    def add_transition(self, transition: Transition) -> None:
        """Append a transition."""

    def enqueue(self, notifications: Sequence[Notification]) -> int:
        """Put notifications into the outbox, skip those whose idempotency key is there already, return how many are new."""

    def add_cap(self, message: CapMessage) -> None:
        """Append a CAP message."""

    def cap_of(self, alert_id: int) -> Sequence[CapMessage]:
        """Return an alert's CAP messages, oldest first, those of this transaction included."""

    def free_identifier(self, authority: str, at: datetime) -> str:
        """Return the first unused identifier `{authority}_{YYYYMMDDhhmmss}_{N}` (Beijing time, N 0 to 9) at or after second `at`.

        Unused means: by no alert, no CAP message, and by no other running transaction (held by a lock until the end).
        """


class AlertStore(Protocol):
    """What alerting needs of storage."""

    def transaction(self, keys: Sequence[RuleKey] = ()) -> AbstractContextManager[AlertTransaction]:
        """Begin a transaction that excludes any other one on the same keys (advisory locks, taken in sorted order)."""

    def current_seq(self) -> int:
        """Return the greatest committed ledger sequence (0 on an empty ledger)."""

    # rules -----------------------------------------------------------------------------------------------------------

    def rules(self, *, enabled_only: bool = True) -> Sequence[Rule]:
        """Return the newest version of every rule, by code."""

    def rules_mark(self) -> int:
        """Return a number that changes whenever a rule is added."""

    def policy(self, version: int | None = None) -> StoredPolicy | None:
        """Return a version (newest by default) of what holds notifications back; None = the shipped policy holds."""

    def rule(self, code: str, version: int | None = None) -> Rule | None:
        """Return one version of a rule (newest by default), or None."""

    def save_rule(self, rule: Rule, *, now: datetime) -> Rule:
        """Store a new version unless the newest says the same (kind, names, definition, source, effective_from, enabled, reason)."""

    # alerts ----------------------------------------------------------------------------------------------------------

    def find_alert(self, key: int | str) -> AlertRecord | None:
        """Return the alert with this id or identifier, or None."""

    def list_alerts(
        self, wanted: AlertFilter, *, after: str | None = None, limit: int = 100
    ) -> tuple[Sequence[AlertRecord], str | None]:
        """Return a page of alerts, newest update first, and the opaque key of the next page (None = last)."""

    def held_alerts(self) -> Sequence[AlertRecord]:
        """Return the alerts whose messages are held back or that are shelved, oldest first."""

    def in_open_cases(self, alert_ids: Sequence[int]) -> Set[int]:
        """Return those of these alerts that a case which is not closed is about."""

    def transitions(self, alert_id: int) -> Sequence[Transition]:
        """Return an alert's transitions, oldest first."""

    def cap_messages(self, alert_id: int) -> Sequence[CapMessage]:
        """Return an alert's CAP messages, oldest first."""

    def recent_cap(self, limit: int = 100) -> Sequence[CapMessage]:
        """Return the newest CAP messages of all alerts, newest first, for the feed."""

    def rule_states(self, *, rule_code: str | None = None, verdict: str | None = None) -> Sequence[RuleState]:
        """Return stored states by rule and scope, e.g. everything that cannot be told."""

    # silences and receivers ------------------------------------------------------------------------------------------

    def add_silence(self, silence: Silence) -> Silence:
        """Store a silence and return it with its id."""

    def end_silence(self, silence_id: int, actor: str, now: datetime) -> None:
        """End a silence now; NotFoundError."""

    def silences(self, at: datetime | None = None) -> Sequence[Silence]:
        """Return silences, only those in force at `at` when given."""

    def save_receiver(self, receiver: Receiver) -> None:
        """Insert or replace a receiver."""

    def receivers(self, *, enabled_only: bool = True) -> Sequence[Receiver]:
        """Return the receivers, by code."""

    # outbox ----------------------------------------------------------------------------------------------------------

    def waiting(self, receiver_code: str, limit: int = 100) -> Sequence[Notification]:
        """Return a receiver's waiting notifications in the order of their creation, due or not."""

    def bundle(self, digest: Notification, notification_ids: Sequence[int]) -> None:
        """Put a digest into the outbox and take what it stands for out of the waiting, in one transaction."""

    def mark_sent(self, notification_id: int, now: datetime) -> None:
        """Note a delivery."""

    def mark_failed(self, notification_id: int, error: str, next_attempt_at: datetime) -> None:
        """Note a failed attempt (attempts + 1) and when to try again."""

    def mark_dead(self, notification_id: int, error: str) -> None:
        """Give a notification up (attempts + 1): it stays visible and can be replayed."""

    def notifications(
        self, *, alert_id: int | None = None, state: NotificationState | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        """Return notifications, newest first."""

    def revive(self, notification_id: int, now: datetime) -> None:
        """Put a dead notification back into the outbox under its old key, with `replay: true` in its payload."""
