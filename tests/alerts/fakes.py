"""A store in memory with the promises of the real one: transactions that roll back, keyed outbox; and a small world with its engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerts.engine import AlertEngine
from alerts.issue import Issuer
from alerts.rules import parse_rule
from alerts.store import AlertFilter
from domain.alert import AlertState
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
)  # fmt: skip
from domain.errors import ConflictError, NotFoundError
from domain.model import Datastream, Derivation, Station, StationKind
from tests.alerts.fake_data import Observations, Registers

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ISSUER = Issuer("jiaxing", "33040012300100", "groundwatch@jiaxing", "嘉兴市", "Jiaxing")


class Tables:
    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.policies: list[StoredPolicy] = []
        self.alerts: dict[int, AlertRecord] = {}
        self.transitions: list[Transition] = []
        self.states: dict[RuleKey, RuleState] = {}
        self.silences: list[Silence] = []
        self.receivers: dict[str, Receiver] = {}
        self.outbox: dict[int, Notification] = {}
        self.cap: list[CapMessage] = []
        self.in_cases: set[int] = set()


class Transaction:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def states(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, RuleState]:
        return {key: self._tables.states[key] for key in keys if key in self._tables.states}

    def alerts_of(self, keys: Sequence[RuleKey]) -> Mapping[RuleKey, Sequence[AlertRecord]]:
        found: dict[RuleKey, list[AlertRecord]] = {}
        for alert in sorted(self._tables.alerts.values(), key=lambda item: item.onset):
            if alert.key in keys:
                found.setdefault(alert.key, []).append(alert)
        return found

    def alert(self, alert_id: int) -> AlertRecord:
        if alert_id not in self._tables.alerts:
            raise NotFoundError(f"there is no alert {alert_id}.")
        return self._tables.alerts[alert_id]

    def group(self, key: str) -> Sequence[AlertRecord]:
        alerts = [alert for alert in self._tables.alerts.values() if alert.memory.get("group") == key]
        return [alert for alert in alerts if alert.state is AlertState.FIRING or alert.memory.get("held") == "grouped"]

    def put_states(self, states: Sequence[RuleState]) -> None:
        self._tables.states.update({state.key: state for state in states})

    def add_alert(self, alert: AlertRecord) -> AlertRecord:
        others = [
            item for item in self._tables.alerts.values() if item.key == alert.key and item.state is not AlertState.RESOLVED
        ]
        if others and alert.state is not AlertState.RESOLVED:
            raise ConflictError("the key has an open alert")
        stored = replace(alert, alert_id=len(self._tables.alerts) + 1)
        self._tables.alerts[stored.alert_id or 0] = stored
        return stored

    def update_alert(self, alert: AlertRecord) -> AlertRecord:
        others = [item for item in self._tables.alerts.values() if item.key == alert.key and item.alert_id != alert.alert_id]
        if alert.state is not AlertState.RESOLVED and any(item.state is not AlertState.RESOLVED for item in others):
            raise ConflictError("the key has an open alert")
        self._tables.alerts[alert.alert_id or 0] = alert
        return alert

    def add_transition(self, transition: Transition) -> None:
        self._tables.transitions.append(transition)

    def enqueue(self, notifications: Sequence[Notification]) -> int:
        known = {item.idempotency_key for item in self._tables.outbox.values()}
        new = [item for item in notifications if item.idempotency_key not in known]
        for item in new:
            identity = len(self._tables.outbox) + 1
            self._tables.outbox[identity] = replace(item, notification_id=identity)
        return len(new)

    def add_cap(self, message: CapMessage) -> None:
        if any(item.identifier == message.identifier for item in self._tables.cap):
            raise ConflictError("the identifier is taken")
        self._tables.cap.append(message)

    def cap_of(self, alert_id: int) -> Sequence[CapMessage]:
        return [message for message in self._tables.cap if message.alert_id == alert_id]

    def free_identifier(self, authority: str, at: datetime) -> str:
        taken = {alert.identifier for alert in self._tables.alerts.values()} | {
            message.identifier for message in self._tables.cap
        }
        local = at.astimezone(ZoneInfo("Asia/Shanghai"))
        for step in range(100_000):
            second, serial = divmod(step, 10)
            identifier = f"{authority}_{local + timedelta(seconds=second):%Y%m%d%H%M%S}_{serial}"
            if identifier not in taken:
                return identifier
        raise AssertionError("no identifier is free")


class Store:
    """An `AlertStore` in memory."""

    def __init__(self, observations: Observations) -> None:
        self.tables = Tables()
        self._observations = observations
        self.transactions = 0  # those that wrote something

    @contextmanager
    def transaction(self, keys: Sequence[RuleKey] = ()) -> Iterator[Transaction]:
        del keys
        kept = copy.copy(self.tables.__dict__)
        snapshot = {name: copy.copy(value) for name, value in kept.items()}
        try:
            yield Transaction(self.tables)
            self.transactions += self.tables.__dict__ != snapshot
        except BaseException:
            self.tables.__dict__.update(snapshot)
            raise

    def current_seq(self) -> int:
        return self._observations.seq

    def rules_mark(self) -> int:
        return len(self.tables.rules)

    def policy(self, version: int | None = None) -> StoredPolicy | None:
        found = [item for item in self.tables.policies if version in (None, item.version)]
        return found[-1] if found else None

    def save_policy(self, content: Mapping[str, Any], *, author: str, reason: str, now: datetime) -> int:
        version = len(self.tables.policies) + 1
        self.tables.policies.append(StoredPolicy(version, content, author, reason, now))
        return version

    def rules(self, *, enabled_only: bool = True) -> Sequence[Rule]:
        newest = {rule.code: rule for rule in self.tables.rules}
        return [newest[code] for code in sorted(newest) if newest[code].enabled or not enabled_only]

    def rule(self, code: str, version: int | None = None) -> Rule | None:
        found = [rule for rule in self.tables.rules if rule.code == code and version in (None, rule.version)]
        return found[-1] if found else None

    def save_rule(self, rule: Rule, *, now: datetime) -> Rule:
        newest = self.rule(rule.code)
        if newest is not None and replace(newest, version=1, recorded_at=None) == replace(rule, version=1, recorded_at=None):
            return newest
        stored = replace(rule, version=newest.version + 1 if newest else 1, recorded_at=now)
        self.tables.rules.append(stored)
        return stored

    def find_alert(self, key: int | str) -> AlertRecord | None:
        return next((alert for alert in self.tables.alerts.values() if key in (alert.alert_id, alert.identifier)), None)

    def list_alerts(
        self, wanted: AlertFilter, *, after: str | None = None, limit: int = 100
    ) -> tuple[Sequence[AlertRecord], str | None]:
        del after
        found = [alert for alert in self.tables.alerts.values() if not wanted.states or alert.state in wanted.states]
        return found[:limit], None

    def held_alerts(self) -> Sequence[AlertRecord]:
        return [alert for alert in self.tables.alerts.values() if {"suppressed", "shelved"} & set(alert.memory)]

    def transitions(self, alert_id: int) -> Sequence[Transition]:
        return [item for item in self.tables.transitions if item.alert_id == alert_id]

    def cap_messages(self, alert_id: int) -> Sequence[CapMessage]:
        return [message for message in self.tables.cap if message.alert_id == alert_id]

    def recent_cap(self, limit: int = 100) -> Sequence[CapMessage]:
        return self.tables.cap[::-1][:limit]

    def rule_states(self, *, rule_code: str | None = None, verdict: str | None = None) -> Sequence[RuleState]:
        return [
            state for state in self.tables.states.values()
            if rule_code in (None, state.rule_code) and verdict in (None, state.verdict)
        ]  # fmt: skip

    def add_silence(self, silence: Silence) -> Silence:
        stored = replace(silence, silence_id=len(self.tables.silences) + 1)
        self.tables.silences.append(stored)
        return stored

    def end_silence(self, silence_id: int, actor: str, now: datetime) -> None:
        self.tables.silences = [
            replace(item, ends_at=now, ended_by=actor) if item.silence_id == silence_id else item for item in self.tables.silences
        ]

    def in_open_cases(self, alert_ids: Sequence[int]) -> set[int]:
        return self.tables.in_cases & set(alert_ids)

    def silences(self, at: datetime | None = None) -> Sequence[Silence]:
        return [item for item in self.tables.silences if at is None or item.starts_at <= at < item.ends_at]

    def save_receiver(self, receiver: Receiver) -> None:
        self.tables.receivers[receiver.code] = receiver

    def receivers(self, *, enabled_only: bool = True) -> Sequence[Receiver]:
        return [item for _, item in sorted(self.tables.receivers.items()) if item.enabled or not enabled_only]

    def waiting(self, receiver_code: str, limit: int = 100) -> Sequence[Notification]:
        found = [item for item in self.tables.outbox.values() if item.receiver_code == receiver_code]
        return [item for item in found if item.state is NotificationState.WAITING][:limit]

    def bundle(self, digest: Notification, notification_ids: Sequence[int]) -> None:
        number = max(self.tables.outbox, default=0) + 1
        self.tables.outbox[number] = replace(digest, notification_id=number)
        for notification_id in notification_ids:
            self._mark(notification_id, state=NotificationState.BUNDLED)

    def mark_sent(self, notification_id: int, now: datetime) -> None:
        self._mark(notification_id, state=NotificationState.SENT, sent_at=now)

    def mark_failed(self, notification_id: int, error: str, next_attempt_at: datetime) -> None:
        attempts = self.tables.outbox[notification_id].attempts + 1
        self._mark(notification_id, attempts=attempts, last_error=error, next_attempt_at=next_attempt_at)

    def mark_dead(self, notification_id: int, error: str) -> None:
        attempts = self.tables.outbox[notification_id].attempts + 1
        self._mark(notification_id, state=NotificationState.DEAD, attempts=attempts, last_error=error)

    def notifications(
        self, *, alert_id: int | None = None, state: NotificationState | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        found = [
            item for item in self.tables.outbox.values() if alert_id in (None, item.alert_id) and state in (None, item.state)
        ]
        return found[::-1][:limit]

    def revive(self, notification_id: int, now: datetime) -> None:
        payload = {**self.tables.outbox[notification_id].payload, "replay": True}
        self._mark(notification_id, state=NotificationState.WAITING, next_attempt_at=now, payload=payload)

    def _mark(self, notification_id: int, **changes: Any) -> None:
        self.tables.outbox[notification_id] = replace(self.tables.outbox[notification_id], **changes)


class World:
    """A small network with its engine: one mark with its displacement and rate, one well with its depth to water."""

    def __init__(self, *rules: Mapping[str, Any]) -> None:
        self.observations = Observations()
        self.registers = Registers(self.observations)
        mark = Station(
            "WY01",
            StationKind.GNSS_MARK,
            "武原一号",
            "Wuyuan 1",
            region_code="330424",
            longitude_deg=120.9456,
            latitude_deg=30.5234,
        )
        derivation = Derivation("rate_12mo", "1", {}, "0" * 64, source_datastream_id=1)
        self.registers.add(
            mark,
            Datastream("WY01", "displacement_up", "mm", interval_s=86400.0, datum_code="CN-H85"),
            Datastream("WY01", "displacement_up_rate_12mo", "mm/a", derivation=derivation),
        )
        well = Station("W7", StationKind.OBSERVATION_WELL, "七号井", "Well 7", region_code="330411", zone_code="wangjiangjing")
        self.registers.add(well, Datastream("W7", "depth_to_water", "m", interval_s=3600.0, aquifer="II"))
        self.store = Store(self.observations)
        for rule in rules:
            self.store.save_rule(parse_rule(rule), now=T0)
        self.engine = AlertEngine(self.store, self.observations, self.registers, ISSUER)

    def identity(self, code: str) -> int:
        return self.registers.datastreams[code].datastream_id or 0

    def feed(
        self, code: str, rows: Sequence[tuple[float, float]], *, now: datetime | None = None, sigma: float = 0.1, quality: int = 1
    ) -> None:
        """Store (day after T0, value) and evaluate."""
        times = [(T0 + timedelta(days=day), value, sigma, quality) for day, value in rows]
        change = self.observations.put(self.identity(code), times)
        now = now or max(time for time, *_ in times) + timedelta(seconds=1)
        self.observations.received[change[0]] = max(self.observations.received.get(change[0], now), now)
        self.engine.evaluate([change], now)

    @property
    def alerts(self) -> list[AlertRecord]:
        return list(self.store.tables.alerts.values())

    @property
    def messages(self) -> list[str]:
        return [message.message_type.value for message in self.store.tables.cap]


RATE = {
    "code": "rate", "kind": "rate", "name_zh": "沉降速率", "name_en": "Subsidence rate", "source": "[P]",
    "scope": {"property": "*_rate_12mo"}, "unit": "mm/a", "levels": {"blue": 5, "yellow": 10, "orange": 20, "red": 30}, "deadband": 0.5,
}  # fmt: skip
DEPTH = {
    "code": "depth", "kind": "threshold", "name_zh": "水位埋深", "name_en": "Depth to water", "source": "test",
    "scope": {"property": "depth_to_water"}, "unit": "m", "levels": {"blue": 10, "yellow": 12, "red": 15}, "deadband": 0.5,
}  # fmt: skip
SILENT = {
    "code": "silent", "kind": "silence", "name_zh": "无数据", "name_en": "Silent", "source": "test",
    "scope": {"derived": False}, "levels": {"blue": 3, "yellow": 24},
}  # fmt: skip
STAFF = Receiver("staff", "webhook", {"url": "http://127.0.0.1:9/"})
PARTNER = Receiver("partner", "webhook", {"url": "http://127.0.0.1:9/"}, outside=True)
