"""Writes what the rules found: alerts, their transitions, the CAP message that is due and the notifications, in one transaction.

This file finishes with `Recorder`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from alerts.audience import Audience
from alerts.evidence import digest_of
from alerts.holds import Hold, grouping_of, why_held
from alerts.issue import Issuer, Subject, cap_message, payload_of
from alerts.lifecycle import Episode, episode_to_json
from alerts.matching import Labels, labels_of, wants
from alerts.policy import group_key
from alerts.reconcile import Aim, aim, is_history, message_due
from alerts.rules import RULES
from alerts.store import AlertTransaction
from alerts.times import in_order
from alerts.transitions import REALARMED, SYSTEM, Turn, transition_of
from domain.alert import AlertState, Confirmation, Level, MessageStatus, MessageType, Verdict
from domain.alerting import AlertRecord, CapMessage, Notification, Receiver, Rule, Transition
from domain.model import Datastream, Station

_HISTORY_SHOWN = 100
_HELD = frozenset({"suppressed", "held", "held_at"})
_HOLD_WORDS = {"silence": "suppressed", "shelved": "suppressed", "grouped": "grouping"}


@dataclass(slots=True)
class Report:
    """What an evaluation did; `faulty_rules` maps the code of a stored rule that cannot be read to what is wrong with it."""

    evaluated: int = 0
    opened: int = 0
    changed: int = 0
    resolved: int = 0
    cancelled: int = 0
    notifications: int = 0
    cannot_tell: int = 0
    alerts: list[str] = field(default_factory=list)
    faulty_rules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """What an alert is about, beside its own record."""

    rule: Rule
    station: Station
    datastream: Datastream | None
    scope: str
    status: MessageStatus = MessageStatus.ACTUAL

    @property
    def instrument(self) -> bool:
        """Is it an instrument alarm, which needs no person and stays inside?"""
        return RULES[self.rule.kind].instrument

    def subject(self, alert: AlertRecord) -> Subject:
        """Return the alert with what it is about."""
        return Subject(alert, self.rule, self.station, self.datastream)


class Recorder:
    """Brings recorded alerts to where the evidence says they stand."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def open(
        self, tx: AlertTransaction, about: About, episode: Episode, evidence: Mapping[str, Any], audience: Audience, turn: Turn,
        report: Report, memory: Mapping[str, Any] | None = None,
    ) -> AlertRecord:  # fmt: skip
        """Open an alert on an episode."""
        blank = self._blank(tx, about, episode, evidence, turn, memory or {})
        return self._settle(tx, about, blank, episode, evidence, audience, turn, report)

    def carry(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, episode: Episode, evidence: Mapping[str, Any],
        audience: Audience, turn: Turn, report: Report,
    ) -> AlertRecord:  # fmt: skip
        """Bring an alert to where its episode stands now; nothing is written where nothing changed."""
        return self._settle(tx, about, alert, episode, evidence, audience, turn, report)

    def retract(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, audience: Audience, turn: Turn, report: Report
    ) -> None:
        """Cancel an alert whose breach never was, as the data stand now; one of an older rule version is only closed."""
        older = alert.rule_version != about.rule.version
        if alert.memory.get("cancelled") or (older and alert.state is AlertState.RESOLVED):
            return
        turn = replace(turn, now=in_order(alert, turn.now))
        issued = alert.memory.get("issued")
        kind = "rule_changed" if older else "cancelled" if issued else "lapsed"
        after = replace(
            alert, state=AlertState.RESOLVED, ended=alert.ended or turn.at, verdict=Verdict.OK, updated_at=turn.now,
            confirmation=Confirmation.NOT_NEEDED if alert.confirmation is Confirmation.AWAITED else alert.confirmation,
            memory={**alert.memory, "cancelled": not older},
        )  # fmt: skip
        target = Aim(AlertState.RESOLVED, after.level, after.confirmation, after.level)
        due = message_due(target, alert.memory, instrument=about.instrument, vanished=not older)
        report.cancelled += 1
        self._write(tx, about, alert, after, due, audience, replace(turn, kind=kind), report)

    def announce_again(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, audience: Audience, turn: Turn, report: Report
    ) -> AlertRecord:
        """Send an Update on what stands as it stood, and wait for an acknowledgement anew."""
        turn = replace(turn, now=in_order(alert, turn.now))
        memory: dict[str, Any] = {**alert.memory, "again": int(alert.memory.get("again", 0)) + 1}
        if alert.acknowledged_at is not None:
            memory |= {"unanswered_since": turn.now.isoformat()}
            memory.pop("escalated_to", None)
        after = replace(alert, updated_at=turn.now, memory=memory)
        return self._write(tx, about, alert, after, MessageType.UPDATE, audience, turn, report)

    def remember_past(
        self, tx: AlertTransaction, about: About, episodes: Sequence[Episode], alerts: Sequence[AlertRecord],
        evidence: Mapping[str, Any], turn: Turn,
    ) -> None:  # fmt: skip
        """Keep one silent record of what was over before anybody could be told: a backfill is history, not news."""
        past = [episode for episode in episodes if episode.peak > Level.NONE]
        known = next((alert for alert in alerts if is_history(alert)), None)
        if not past:
            return
        turn = turn if known is None else replace(turn, now=in_order(known, turn.now))
        onsets = [[episode.onset.isoformat(), episode.ended.isoformat() if episode.ended else None] for episode in past]
        if known is not None and known.memory.get("past") == onsets[-_HISTORY_SHOWN:]:
            return
        peak = max(episode.peak for episode in past)
        told = {**evidence, "episodes": [episode_to_json(item) for item in past[-_HISTORY_SHOWN:]], "episodes_total": len(past)}
        told["digest"] = digest_of(told)
        record = known or self._blank(tx, about, past[0], told, turn, {"history": True})
        record = replace(
            record, state=AlertState.RESOLVED, level=peak, peak_level=peak, onset=past[0].onset, ended=past[-1].ended, evidence=told,
            verdict=Verdict.OK, updated_at=turn.now, rule_version=about.rule.version,
            memory={"history": True, "past": onsets[-_HISTORY_SHOWN:]},
        )  # fmt: skip
        stored = tx.add_alert(record) if known is None else tx.update_alert(record)
        tx.add_transition(transition_of(stored, None, replace(turn, kind="history", at=past[-1].ended or turn.at)))

    def deliver(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, message: CapMessage, audience: Audience, now: datetime
    ) -> tuple[int, Mapping[str, Any]]:
        """Put a message into the outbox of everybody who may have it, and return how many and the alert's memory."""
        labels = labels_of(alert, about.rule, about.station, about.datastream)
        chosen = self.receivers_of(about, alert, audience)
        memory = {name: value for name, value in alert.memory.items() if name not in _HELD}
        if not chosen:
            return 0, memory
        grouping = grouping_of(audience.policy, labels)
        if grouping is not None:
            memory["group"] = group_key(grouping, labels)
        hold = why_held(tx, alert, labels, audience.policy, audience.silences, audience.hiders, now)
        going = (
            [receiver for receiver in chosen if receiver.outside] if hold and hold.kind == "grouped" else [] if hold else chosen
        )
        sent = self._enqueue(tx, about, alert, message, going, now)
        if any(receiver.outside for receiver in going):
            memory["outside"] = True
        if hold is None:
            return sent, {**memory, "told": True, "told_at": now.isoformat()}
        return sent + self._hold(tx, about, alert, message, chosen, hold, now), {
            **memory, "suppressed": message.identifier, "held": hold.kind, "held_at": alert.memory.get("held_at", now.isoformat()),
        }  # fmt: skip

    def _enqueue(
        self,
        tx: AlertTransaction,
        about: About,
        alert: AlertRecord,
        message: CapMessage,
        receivers: Sequence[Receiver],
        now: datetime,
    ) -> int:
        if not receivers:
            return 0
        payload = self.payload(about, alert, message)
        return tx.enqueue([_notification(receiver, alert, message, payload, now) for receiver in receivers])

    def _hold(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, message: CapMessage, chosen: Sequence[Receiver], hold: Hold,
        now: datetime,
    ) -> int:  # fmt: skip
        """Note why a message waits, once; of flapping people are told, once."""
        if alert.memory.get("held") == hold.kind:
            return 0
        tx.add_transition(transition_of(alert, alert, Turn(now, now, SYSTEM, hold.reason, _HOLD_WORDS.get(hold.kind, hold.kind))))
        if hold.kind != "flapping":
            return 0
        told = self.payload(about, alert, message) | {"flapping": hold.reason}
        notices = [_notification(receiver, alert, message, told, now) for receiver in chosen if not receiver.outside]
        return tx.enqueue(
            [replace(item, idempotency_key=f"{message.identifier}:flapping:{item.receiver_code}") for item in notices]
        )

    def payload(self, about: About, alert: AlertRecord, message: CapMessage) -> dict[str, Any]:
        """Return what a receiver gets of an alert's message."""
        return payload_of(self._issuer, about.subject(alert), message)

    def receivers_of(self, about: About, alert: AlertRecord, audience: Audience) -> list[Receiver]:
        """Return who may have an alert's messages as it stands."""
        labels = labels_of(alert, about.rule, about.station, about.datastream)
        return [receiver for receiver in audience.receivers if self._may_have(receiver, about, alert, labels)]

    @staticmethod
    def note(alert: AlertRecord, turn: Turn) -> Transition:
        """Return the transition of something that a person did and that moves nothing."""
        return transition_of(alert, alert, turn)

    @staticmethod
    def _may_have(receiver: Receiver, about: About, alert: AlertRecord, labels: Labels) -> bool:
        issued = alert.memory.get("issued") or {}
        worst = max(alert.level, alert.peak_level, Level(issued.get("worst", 0)))
        if receiver.min_level > worst or not wants(receiver, labels, alert.status):
            return False
        if not receiver.outside:
            return True
        if about.instrument:
            return False
        ends = alert.state is AlertState.RESOLVED
        return bool(alert.memory.get("outside")) if ends else alert.confirmation is Confirmation.CONFIRMED

    def _blank(
        self,
        tx: AlertTransaction,
        about: About,
        episode: Episode,
        evidence: Mapping[str, Any],
        turn: Turn,
        memory: Mapping[str, Any],
    ) -> AlertRecord:
        return AlertRecord(
            identifier=tx.free_identifier(self._issuer.authority, turn.now),
            rule_code=about.rule.code,
            rule_version=about.rule.version,
            scope=about.scope,
            state=AlertState.PENDING,
            level=episode.armed,
            peak_level=Level.NONE,
            onset=episode.onset,
            verdict=Verdict.BREACH,
            confirmation=Confirmation.NOT_NEEDED,
            evidence=evidence,
            opened_at=turn.now,
            updated_at=turn.now,
            station=about.station.code,
            station_id=about.station.station_id,
            datastream=about.datastream.code if about.datastream else None,
            datastream_id=about.datastream.datastream_id if about.datastream else None,
            status=about.status,
            memory=memory,
        )

    def _settle(
        self, tx: AlertTransaction, about: About, alert: AlertRecord, episode: Episode, evidence: Mapping[str, Any],
        audience: Audience, turn: Turn, report: Report,
    ) -> AlertRecord:  # fmt: skip
        turn = replace(turn, now=in_order(alert, turn.now))
        memory = {name: value for name, value in alert.memory.items() if name != "cancelled"}
        labels = labels_of(alert, about.rule, about.station, about.datastream)
        outside = any(item.outside and wants(item, labels, alert.status) for item in audience.receivers)
        target = aim(episode, memory, instrument=about.instrument, outside=outside)
        after = replace(
            alert,
            rule_version=about.rule.version,
            state=target.state,
            level=target.level,
            peak_level=max(episode.peak, target.level if target.state is not AlertState.PENDING else Level.NONE),
            onset=episode.onset,
            ended=episode.ended,
            verdict=_verdict(target, episode, evidence),
            confirmation=target.confirmation,
            evidence=evidence,
            updated_at=turn.now,
            memory=memory,
        )
        if alert.alert_id is not None and _same(alert, after) and not turn.kind:
            return alert
        after = _realarmed(after, turn.now)
        due = message_due(target, memory, instrument=about.instrument)
        _count(report, alert, after)
        return self._write(tx, about, alert if alert.alert_id is not None else None, after, due, audience, turn, report)

    def _write(
        self, tx: AlertTransaction, about: About, before: AlertRecord | None, after: AlertRecord, due: MessageType | None,
        audience: Audience, turn: Turn, report: Report,
    ) -> AlertRecord:  # fmt: skip
        identifier = None
        if due is not None:
            identifier = after.identifier if before is None else tx.free_identifier(self._issuer.authority, turn.now)
            worst = max(after.level, after.peak_level, Level((after.memory.get("issued") or {}).get("worst", 0)))
            issued = {
                "identifier": identifier,
                "type": due.value,
                "level": int(after.level),
                "state": after.state.value,
                "worst": int(worst),
                "at": turn.now.isoformat(),
            }
            kept = {name: value for name, value in after.memory.items() if name != "again" or turn.kind == REALARMED}
            after = replace(after, memory={**kept, "issued": issued})
        stored = tx.add_alert(after) if before is None else tx.update_alert(after)
        tx.add_transition(transition_of(stored, before, turn))
        if due is not None and identifier is not None and stored.alert_id is not None:
            earlier = () if before is None else tx.cap_of(stored.alert_id)
            message = cap_message(self._issuer, about.subject(stored), due, identifier, earlier, turn.now)
            tx.add_cap(message)
            sent, memory = self.deliver(tx, about, stored, message, audience, turn.now)
            report.notifications += sent
            if memory != stored.memory:
                stored = tx.update_alert(replace(stored, memory=memory))
        report.alerts.append(stored.identifier)
        return stored


def _realarmed(alert: AlertRecord, now: datetime) -> AlertRecord:
    """An acknowledgement covers what was seen: it stays, but what gets worse than that waits for another and is told on again."""
    seen = alert.memory.get("acknowledged_level")
    if seen is None or alert.state is not AlertState.FIRING or alert.level <= Level(seen):
        return alert
    memory = {name: value for name, value in alert.memory.items() if name not in {"acknowledged_level", "escalated_to"}}
    return replace(alert, memory={**memory, "unanswered_since": now.isoformat()})


def _same(before: AlertRecord, after: AlertRecord) -> bool:
    def stands(alert: AlertRecord) -> tuple[Any, ...]:
        return (
            alert.state, alert.level, alert.peak_level, alert.onset, alert.ended, alert.confirmation, alert.verdict, "cancelled" in alert.memory
        )  # fmt: skip

    return stands(before) == stands(after)


def _verdict(target: Aim, episode: Episode, evidence: Mapping[str, Any]) -> Verdict:
    if target.state is AlertState.RESOLVED and episode.ended is not None:
        return Verdict.OK
    unsure = episode.held > episode.level and target.state is AlertState.PENDING
    return Verdict.CANNOT_TELL if unsure or evidence.get("reason") == "no_usable_value" else Verdict.BREACH


def _count(report: Report, before: AlertRecord, after: AlertRecord) -> None:
    if before.alert_id is None:
        report.opened += 1
    elif after.state is AlertState.RESOLVED and before.state is not AlertState.RESOLVED:
        report.resolved += 1
    else:
        report.changed += 1


def _notification(
    receiver: Receiver, alert: AlertRecord, message: CapMessage, payload: Mapping[str, Any], now: datetime
) -> Notification:
    return Notification(
        idempotency_key=f"{message.identifier}:{receiver.code}",
        receiver_code=receiver.code,
        message_type=message.message_type,
        payload=payload,
        created_at=now,
        next_attempt_at=now,
        alert_id=alert.alert_id,
    )
