"""Rules, alerts and the outbox: the store behind alerting.

Everything that changes an alert goes through one transaction, so that an alert, its transition, its CAP message and its notifications
become visible together or not at all. This file finishes with `AlertRepository`.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

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
from domain.errors import NotFoundError, RequestError
from storage.alert_rows import (
    parameters_of,
    to_alert,
    to_cap,
    to_notification,
    to_receiver,
    to_rule,
    to_silence,
    to_state,
    to_transition,
)
from storage.alert_work import AlertUnitOfWork, StateCache, read_all
from storage.arrays import ids_parameter
from storage.database import Database, refusals_are_conflicts
from storage.json_values import jsonb, plain
from storage.queries import load_statements

SQL = load_statements("alerts")
MOST_VERSIONS = 20_000
T = TypeVar("T")
LOCK_BUCKETS = 4096
LAST_PAGE_KEY = (datetime.max.replace(tzinfo=UTC), 2**63 - 1)


class AlertCriteria(Protocol):
    """Which alerts to list; an empty tuple or None means any."""

    @property
    def states(self) -> tuple[AlertState, ...]:
        """States."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels."""

    @property
    def rule_code(self) -> str | None:
        """The rule."""

    @property
    def station(self) -> str | None:
        """The station's code."""

    @property
    def datastream(self) -> str | None:
        """The datastream's code."""

    @property
    def acknowledged(self) -> bool | None:
        """Whether somebody acknowledged it."""

    @property
    def since(self) -> datetime | None:
        """The earliest time of the last update."""

    @property
    def statuses(self) -> tuple[str, ...]:
        """CAP statuses."""


class AlertRepository:
    """Implements the store that alerting declares."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._states: StateCache = {}
        self._versions: dict[tuple[str, int], Rule] = {}

    @contextmanager
    def transaction(self, keys: Sequence[RuleKey] = ()) -> Iterator[AlertUnitOfWork]:
        """Begin a transaction that excludes any other one on the same keys."""
        with self._database.transaction() as connection:
            if keys:
                connection.execute(SQL.lock_keys, [ids_parameter(sorted({_lock_key(key) for key in keys}))])
            yield AlertUnitOfWork(connection, self._states)

    def current_seq(self) -> int:
        """Return the greatest committed ledger sequence (0 on an empty ledger)."""
        with self._database.single() as connection:
            row = connection.execute(SQL.current_seq).fetchone()
        return int(row[0]) if row else 0

    # -- rules --------------------------------------------------------------------------------------------------------

    def rules(self, *, enabled_only: bool = True) -> Sequence[Rule]:
        """Return the newest version of every rule, by code."""
        return self._read(SQL.newest_rules, {"enabled_only": enabled_only}, to_rule)

    def rules_mark(self) -> int:
        """Return a number that changes whenever a rule is added, at the cost of one look at an index."""
        with self._database.single() as connection:
            row = connection.execute(SQL.rules_mark).fetchone()
        return int(row[0]) if row else 0

    def policy(self, version: int | None = None) -> StoredPolicy | None:
        """Return a version (the newest when not given) of what holds notifications back; None = the shipped policy holds."""
        found = self._read(SQL.policy, {"version": version}, lambda row: StoredPolicy(**row))
        return found[0] if found else None

    def save_policy(self, content: Mapping[str, Any], *, author: str, reason: str, now: datetime) -> int:
        """Store a new version of the policy and return its number."""
        parameters = {"content": jsonb(content), "author": author, "reason": reason, "recorded_at": now}
        with self._database.transaction() as connection, refusals_are_conflicts("the alert policy"):
            connection.execute(SQL.lock_rule, ["alert_policy"])
            row = connection.execute(SQL.insert_policy, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def rule(self, code: str, version: int | None = None) -> Rule | None:
        """Return one version of a rule (newest by default), or None. A version never changes and is read once."""
        if version is not None and (known := self._versions.get((code, version))) is not None:
            return known
        found = self._read(SQL.rule, {"code": code, "version": version}, to_rule)
        if not found:
            return None
        if len(self._versions) >= MOST_VERSIONS:
            self._versions.clear()
        self._versions[(code, found[0].version)] = found[0]
        return found[0]

    def rule_versions(self, code: str) -> Sequence[Rule]:
        """Return every version of a rule, oldest first."""
        return self._read(SQL.rule_versions, [code], to_rule)

    def save_rule(self, rule: Rule, *, now: datetime) -> Rule:
        """Store a new version unless the newest says the same (kind, names, definition, source, effective_from, enabled)."""
        with self._database.transaction() as connection, refusals_are_conflicts(f"rule {rule.code}"):
            connection.execute(SQL.lock_rule, [rule.code])
            stored = read_all(connection, SQL.rule, {"code": rule.code, "version": None}, to_rule)
            if stored and _says(stored[0]) == _says(rule):
                return stored[0]
            new = replace(rule, version=stored[0].version + 1 if stored else 1, recorded_at=now)
            connection.execute(SQL.insert_rule, parameters_of(new))
        return new

    # -- alerts -------------------------------------------------------------------------------------------------------

    def find_alert(self, key: int | str) -> AlertRecord | None:
        """Return the alert with this id or identifier, or None."""
        is_id = isinstance(key, int)
        found = self._read(SQL.find_alert, {"id": key if is_id else None, "identifier": None if is_id else key}, to_alert)
        return found[0] if found else None

    def list_alerts(
        self, wanted: AlertCriteria, *, after: str | None = None, limit: int = 100
    ) -> tuple[Sequence[AlertRecord], str | None]:
        """Return a page of alerts, newest update first, and the opaque key of the next page (None = last)."""
        after_time, after_id = LAST_PAGE_KEY if after is None else _read_page_key(after)
        parameters = {
            "states": [str(state) for state in wanted.states],
            "levels": [int(level) for level in wanted.levels],
            "statuses": list(wanted.statuses),
            "rule_code": wanted.rule_code,
            "station": wanted.station,
            "datastream": wanted.datastream,
            "acknowledged": wanted.acknowledged,
            "since": wanted.since,
            "after_time": after_time,
            "after_id": after_id,
            "limit": limit + 1,
        }
        found = self._read(SQL.list_alerts, parameters, to_alert)
        page = found[:limit]
        return page, _page_key(page[-1]) if len(found) > limit and page else None

    def held_alerts(self) -> Sequence[AlertRecord]:
        """Return the alerts whose messages are held back or that are shelved, oldest first."""
        return self._read(SQL.held_alerts, [], to_alert)

    def in_open_cases(self, alert_ids: Sequence[int]) -> Set[int]:
        """Return those of these alerts that a case which is not closed is about."""
        if not alert_ids:
            return frozenset()
        with self._database.transaction() as connection:
            return {row[0] for row in connection.execute(SQL.in_open_cases, [list(alert_ids)])}

    def transitions(self, alert_id: int) -> Sequence[Transition]:
        """Return an alert's transitions, oldest first."""
        return self._read(SQL.transitions, [alert_id], to_transition)

    def cap_messages(self, alert_id: int) -> Sequence[CapMessage]:
        """Return an alert's CAP messages, oldest first."""
        return self._read(SQL.cap_of, [alert_id], to_cap)

    def recent_cap(self, limit: int = 100) -> Sequence[CapMessage]:
        """Return the newest CAP messages of all alerts, newest first, for the feed."""
        return self._read(SQL.recent_cap, [limit], to_cap)

    def rule_states(self, *, rule_code: str | None = None, verdict: str | None = None) -> Sequence[RuleState]:
        """Return stored states by rule and scope, e.g. everything that cannot be told."""
        return self._read(SQL.list_states, {"rule_code": rule_code, "verdict": verdict}, to_state)

    # -- silences and receivers -----------------------------------------------------------------------------------------

    def add_silence(self, silence: Silence) -> Silence:
        """Store a silence and return it with its id; ConflictError when it has no reason or ends before it begins."""
        with self._database.transaction() as connection, refusals_are_conflicts("the silence"):
            row = connection.execute(SQL.insert_silence, parameters_of(silence)).fetchone()
        assert row is not None
        return replace(silence, silence_id=row[0])

    def end_silence(self, silence_id: int, actor: str, now: datetime) -> None:
        """End a silence now; NotFoundError when there is none that has not ended."""
        self._write_one(
            SQL.end_silence, {"id": silence_id, "actor": actor, "now": now}, f"silence {silence_id} in force", "list the silences"
        )

    def silences(self, at: datetime | None = None) -> Sequence[Silence]:
        """Return silences, only those in force at `at` when given."""
        return self._read(SQL.silences, {"at": at}, to_silence)

    def save_receiver(self, receiver: Receiver) -> None:
        """Insert or replace a receiver."""
        with self._database.transaction() as connection, refusals_are_conflicts(f"receiver {receiver.code}"):
            connection.execute(SQL.save_receiver, parameters_of(receiver))

    def receivers(self, *, enabled_only: bool = True) -> Sequence[Receiver]:
        """Return the receivers, by code."""
        return self._read(SQL.receivers, {"enabled_only": enabled_only}, to_receiver)

    # -- outbox ---------------------------------------------------------------------------------------------------------

    def waiting(self, receiver_code: str, limit: int = 100) -> Sequence[Notification]:
        """Return a receiver's waiting notifications in the order of their creation, due or not."""
        return self._read(SQL.waiting, {"receiver_code": receiver_code, "limit": limit}, to_notification)

    def bundle(self, digest: Notification, notification_ids: Sequence[int]) -> None:
        """Put a digest into the outbox and take what it stands for out of the waiting, in one transaction."""
        with self._database.transaction() as connection, refusals_are_conflicts("the digest"):
            connection.execute(SQL.insert_notification, parameters_of(digest))
            connection.execute(SQL.bundle, {"key": digest.idempotency_key, "ids": list(notification_ids)})

    def mark_sent(self, notification_id: int, now: datetime) -> None:
        """Note a delivery."""
        self._write_one(SQL.mark_sent, {"id": notification_id, "now": now}, f"notification {notification_id}")

    def mark_failed(self, notification_id: int, error: str, next_attempt_at: datetime) -> None:
        """Note a failed attempt (attempts + 1) and when to try again."""
        parameters = {"id": notification_id, "error": error, "next_attempt_at": next_attempt_at}
        self._write_one(SQL.mark_failed, parameters, f"notification {notification_id}")

    def mark_dead(self, notification_id: int, error: str) -> None:
        """Give a notification up (attempts + 1): it stays visible and can be replayed."""
        self._write_one(SQL.mark_dead, {"id": notification_id, "error": error}, f"notification {notification_id}")

    def notifications(
        self, *, alert_id: int | None = None, state: NotificationState | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        """Return notifications, newest first."""
        parameters = {"alert_id": alert_id, "state": None if state is None else str(state), "limit": limit}
        return self._read(SQL.notifications, parameters, to_notification)

    def revive(self, notification_id: int, now: datetime) -> None:
        """Put a dead notification back into the outbox under its old key, with `replay: true` in its payload."""
        given_up = "only what was given up goes again; it is listed at /api/v1/notifications?state=dead"
        self._write_one(SQL.revive, {"id": notification_id, "now": now}, f"dead notification {notification_id}", given_up)

    # -- plumbing -------------------------------------------------------------------------------------------------------

    def _read(self, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
        with self._database.single() as connection:
            return read_all(connection, statement, parameters, read)

    def _write_one(self, statement: bytes, parameters: Mapping[str, Any], what: str, remedy: str | None = None) -> None:
        with self._database.single() as connection:
            if connection.execute(statement, parameters).rowcount != 1:
                raise NotFoundError(f"there is no {what}.", remedy=remedy)


def _lock_key(key: RuleKey) -> int:
    return zlib.crc32(f"{key.rule_code}\x1f{key.scope}".encode()) % LOCK_BUCKETS


def _says(rule: Rule) -> tuple[Any, ...]:
    return (
        rule.kind,
        rule.name_zh,
        rule.name_en,
        plain(rule.definition),
        rule.source,
        rule.effective_from,
        rule.enabled,
        rule.reason,
    )


def _page_key(alert: AlertRecord) -> str:
    return base64.urlsafe_b64encode(f"{alert.updated_at.isoformat()} {alert.alert_id}".encode()).decode()


def _read_page_key(key: str) -> tuple[datetime, int]:
    try:
        moment, _, number = base64.urlsafe_b64decode(key.encode()).decode().partition(" ")
        return datetime.fromisoformat(moment), int(number)
    except (ValueError, binascii.Error) as error:
        raise RequestError("the page key is not one of ours.", remedy="follow the `next` of the page before") from error
