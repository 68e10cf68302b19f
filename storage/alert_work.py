"""One transaction on alerts: what becomes visible together or not at all. This file finishes with `AlertUnitOfWork`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from psycopg.rows import dict_row

from domain.alerting import AlertRecord, CapMessage, Notification, RuleKey, RuleState, Transition
from domain.errors import NotFoundError
from storage.alert_rows import jsonb_of, parameters_of, to_alert, to_cap, to_state
from storage.arrays import TextArray
from storage.database import Connection, refusals_are_conflicts
from storage.queries import load_statements

SQL = load_statements("alerts")
T = TypeVar("T")
BEIJING = timezone(timedelta(hours=8))
"""GB/T 35965.1 writes identifiers in Beijing time wherever the node is."""

StateCache = dict[RuleKey, tuple[str, RuleState]]
"""States by key with the version of the stored row that each was read from."""
MOST_STATES = 400_000
IDENTIFIERS_A_SECOND = 10


def read_all(connection: Connection, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Return what a statement finds, each row read by `read`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [read(row) for row in cursor.execute(statement, parameters)]


class AlertUnitOfWork:
    """One transaction on alerts; the first write of an alert, a transition or a CAP message takes one ledger entry for all."""

    def __init__(self, connection: Connection, known: StateCache | None = None) -> None:
        self._connection = connection
        self._known = {} if known is None else known
        self._seq: int | None = None
        self._reserved: set[str] = set()

    def _ledger(self, reference: str) -> int:
        if self._seq is None:
            row = self._connection.execute(SQL.append_ledger, [reference]).fetchone()
            assert row is not None
            self._seq = int(row[0])
        return self._seq

    def states(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, RuleState]:
        """Return the stored states of these keys; keys never evaluated are left out."""
        if len(self._known) >= MOST_STATES:
            self._known.clear()
        distinct = list(dict.fromkeys(keys))
        versions = [found[0] if (found := self._known.get(key)) is not None else "" for key in distinct]
        parameters = _key_arrays(distinct) | {"versions": TextArray(versions)}
        for row in self._connection.cursor(row_factory=dict_row).execute(SQL.states, parameters):
            version, key = row.pop("version"), RuleKey(row["rule_code"], row["scope"])
            if version is None:
                self._known.pop(key, None)
            else:
                self._known[key] = (version, to_state(row))
        return {key: found[1] for key in distinct if (found := self._known.get(key)) is not None}

    def alerts_of(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, Sequence[AlertRecord]]:
        """Return every alert of these keys, open or resolved, oldest onset first."""
        found: dict[RuleKey, list[AlertRecord]] = {}
        for alert in read_all(self._connection, SQL.alerts_of, _key_arrays(keys), to_alert):
            found.setdefault(alert.key, []).append(alert)
        return found

    def alert(self, alert_id: int) -> AlertRecord:
        """Return one alert, locked for update; NotFoundError."""
        found = read_all(self._connection, SQL.alert_for_update, [alert_id], to_alert)
        if not found:
            raise NotFoundError(f"there is no alert {alert_id}.")
        return found[0]

    def group(self, key: str) -> Sequence[AlertRecord]:
        """Return the alerts of a group (`memory.group`) that fire, or whose messages wait to be told with it."""
        return read_all(self._connection, SQL.alert_group, [key], to_alert)

    def put_states(self, states: Sequence[RuleState]) -> None:
        """Insert or replace states; what is written here need not be read again while nobody else writes it."""
        if not states:
            return
        latest = {state.key: state for state in states}
        for rule_code, scope, version in self._connection.execute(SQL.put_states, [jsonb_of(list(latest.values()))]):
            key = RuleKey(rule_code, scope)
            self._known[key] = (version, latest[key])

    def add_alert(self, alert: AlertRecord) -> AlertRecord:
        """Insert an alert and return it with its id; ConflictError where the key already has an open one."""
        seq = self._ledger(alert.identifier)
        with refusals_are_conflicts(f"alert {alert.identifier}"):
            row = self._connection.execute(SQL.insert_alert, parameters_of(alert) | {"ledger_seq": seq}).fetchone()
        assert row is not None
        return replace(alert, alert_id=row[0], ledger_seq=seq)

    def update_alert(self, alert: AlertRecord) -> AlertRecord:
        """Replace every mutable field of the alert `alert.alert_id`."""
        seq = self._ledger(alert.identifier)
        with refusals_are_conflicts(f"alert {alert.identifier}"):
            changed = self._connection.execute(SQL.update_alert, parameters_of(alert) | {"ledger_seq": seq}).rowcount
        if changed != 1:
            raise NotFoundError(f"there is no alert {alert.alert_id}.")
        return replace(alert, ledger_seq=seq)

    def add_transition(self, transition: Transition) -> None:
        """Append a transition."""
        seq = self._ledger(f"alert:{transition.alert_id}")
        with refusals_are_conflicts("the transition"):
            self._connection.execute(SQL.insert_transition, parameters_of(transition) | {"ledger_seq": seq})

    def enqueue(self, notifications: Sequence[Notification]) -> int:
        """Put notifications into the outbox, skip those whose idempotency key is there already, return how many are new."""
        with refusals_are_conflicts("the notification"):
            new = sum(self._connection.execute(SQL.insert_notification, parameters_of(item)).rowcount for item in notifications)
        if new:
            self._connection.execute(SQL.notify_outbox)
        return new

    def add_cap(self, message: CapMessage) -> None:
        """Append a CAP message."""
        seq = self._ledger(message.identifier)
        with refusals_are_conflicts(f"CAP message {message.identifier}"):
            self._connection.execute(SQL.insert_cap, parameters_of(message) | {"ledger_seq": seq})

    def cap_of(self, alert_id: int) -> Sequence[CapMessage]:
        """Return an alert's CAP messages, oldest first, those of this transaction included."""
        return read_all(self._connection, SQL.cap_of, [alert_id], to_cap)

    def free_identifier(self, authority: str, at: datetime) -> str:
        """Return the first unused identifier `{authority}_{YYYYMMDDhhmmss}_{N}` (Beijing time, N 0 to 9) at or after second `at`.

        Unused means: by no alert, no CAP message, and by no other running transaction.
        """
        second = at.astimezone(BEIJING).replace(microsecond=0)
        while True:
            for number in range(IDENTIFIERS_A_SECOND):
                identifier = f"{authority}_{second:%Y%m%d%H%M%S}_{number}"
                if identifier in self._reserved:
                    continue
                row = self._connection.execute(SQL.reserve_identifier, {"identifier": identifier}).fetchone()
                if row is not None and row[0]:
                    self._reserved.add(identifier)
                    return identifier
            second += timedelta(seconds=1)


def _key_arrays(keys: Sequence[RuleKey]) -> dict[str, TextArray]:
    distinct = list(dict.fromkeys(keys))
    return {"codes": TextArray([key.rule_code for key in distinct]), "scopes": TextArray([key.scope for key in distinct])}
