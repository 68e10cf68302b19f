"""Sends what was held back once nothing holds it any more, ends shelvings that ran out, and tells groups. This file finishes with `Releaser`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerts.audience import Audience
from alerts.holds import grouping_of
from alerts.matching import labels_of
from alerts.recorder import About, Recorder
from alerts.store import AlertStore
from alerts.times import Clock, in_order
from alerts.transitions import Turn
from domain.alert import AlertState, MessageType
from domain.alerting import AlertRecord, Notification, Receiver

MOST_SHOWN = 100


class Releaser:
    """Works off what is held.

    Parameters
    ----------
    store
        Alerts and the outbox.
    recorder
        Writes messages.
    about
        What an alert is about.
    """

    def __init__(self, store: AlertStore, recorder: Recorder, about: Callable[[AlertRecord], About]) -> None:
        self._store = store
        self._recorder = recorder
        self._about = about

    def run(self, audience: Audience, clock: Clock) -> int:
        """Release what can be, and return how many notifications that made; the clock is asked once a transaction, in it."""
        sent = 0
        groups: dict[str, list[AlertRecord]] = {}
        for listed in self._store.held_alerts():
            alert = self._unshelve(listed, clock) if _shelf_ran_out(listed, clock()) else listed
            if "suppressed" not in alert.memory:
                continue
            if alert.memory.get("held") == "grouped":
                groups.setdefault(str(alert.memory["group"]), []).append(alert)
            else:
                sent += self._try_again(alert, audience, clock)
        for key, waiting in groups.items():
            sent += self._tell_group(key, waiting, audience, clock)
        return sent

    def _unshelve(self, listed: AlertRecord, clock: Clock) -> AlertRecord:
        with self._store.transaction([listed.key]) as tx:
            alert = tx.alert(listed.alert_id or 0)
            now = in_order(alert, clock())
            if not _shelf_ran_out(alert, now):
                return alert
            memory = {name: value for name, value in alert.memory.items() if name != "shelved"}
            stored = tx.update_alert(replace(alert, memory=memory, updated_at=now))
            tx.add_transition(self._recorder.note(stored, Turn(now, now, reason="the shelving ran out", kind="unshelved")))
            return stored

    def _try_again(self, listed: AlertRecord, audience: Audience, clock: Clock) -> int:
        with self._store.transaction([listed.key]) as tx:
            alert = tx.alert(listed.alert_id or 0)
            now = in_order(alert, clock())
            if "suppressed" not in alert.memory:
                return 0
            messages = tx.cap_of(alert.alert_id or 0)
            is_news = alert.state is AlertState.FIRING or (alert.state is AlertState.RESOLVED and alert.memory.get("told"))
            if not messages or not is_news:
                if alert.state is AlertState.RESOLVED:  # nobody heard of it, and it is over
                    tx.update_alert(replace(alert, memory=_freed(alert.memory)))
                return 0
            sent, memory = self._recorder.deliver(tx, self._about(alert), alert, messages[-1], audience, now)
            if memory != alert.memory:
                tx.update_alert(replace(alert, memory=memory))
            return sent

    def _tell_group(self, key: str, waiting: Sequence[AlertRecord], audience: Audience, clock: Clock) -> int:
        """Send one notification for all that wait in a group, once the oldest has waited and the last notice is old enough."""
        with self._store.transaction(sorted({alert.key for alert in waiting})) as tx:
            members, now = tx.group(key), clock()
            pending = [alert for alert in members if alert.memory.get("held") == "grouped"]
            leader = min(
                members, key=lambda alert: (alert.state is not AlertState.FIRING, alert.opened_at, alert.identifier), default=None
            )
            if leader is None or not pending:
                return 0
            about = self._about(leader)
            labels = labels_of(leader, about.rule, about.station, about.datastream)
            grouping = grouping_of(audience.policy, labels)
            notices = [notice for alert in members if (notice := alert.memory.get("group_notice"))]
            last = max((datetime.fromisoformat(notice) for notice in notices), default=None)
            oldest = min(datetime.fromisoformat(alert.memory["held_at"]) for alert in pending)
            if grouping is not None and (now - oldest < grouping.wait or (last is not None and now - last < grouping.interval)):
                return 0
            receivers = {
                receiver.code: receiver
                for alert in pending
                for receiver in self._recorder.receivers_of(self._about(alert), alert, audience)
                if not receiver.outside
            }
            messages = tx.cap_of(leader.alert_id or 0)
            sent = 0
            if messages:
                payload = self._recorder.payload(about, leader, messages[-1]) | _group_told(about, key, members)
                key_stem = f"{leader.identifier}:group:{int(now.timestamp())}"
                sent = tx.enqueue([_notice(receiver, leader, payload, key_stem, now) for receiver in receivers.values()])
            for alert in pending:
                at = in_order(alert, now)
                memory = {**_freed(alert.memory), "told": True, "told_at": at.isoformat(), "group_notice": at.isoformat()}
                stored = tx.update_alert(replace(alert, memory=memory))
                tx.add_transition(self._recorder.note(stored, Turn(at, at, reason=f"told with its group {key}", kind="grouped")))
            return sent


def _shelf_ran_out(alert: AlertRecord, now: datetime) -> bool:
    shelved = alert.memory.get("shelved")
    return shelved is not None and datetime.fromisoformat(shelved["until"]) <= now


def _freed(memory: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in memory.items() if name not in {"suppressed", "held", "held_at"}}


def _group_told(about: About, key: str, members: Sequence[AlertRecord]) -> dict[str, Any]:
    firing = [alert for alert in members if alert.state is AlertState.FIRING]
    over = len(members) - len(firing)
    worst = max((alert.level for alert in firing or members), default=members[0].level)
    return {
        "group": {
            "key": key,
            "firing": len(firing),
            "over": over,
            "worst": worst.word,
            "members": [
                {"identifier": alert.identifier, "station": alert.station, "scope": alert.scope, "level": alert.level.word,
                 "state": alert.state.value, "value": alert.evidence.get("value"), "unit": alert.evidence.get("unit")}
                for alert in sorted(members, key=lambda item: (-item.level, item.scope))[:MOST_SHOWN]
            ],
        },
        "headline": {
            "zh": f"{about.rule.name_zh}：{len(firing)} 处持续，{over} 处已解除，最高{worst.word_zh}色（合并通知）",
            "en": f"{about.rule.name_en}: {len(firing)} firing, {over} over, worst {worst.word} (told together)",
        },
    }  # fmt: skip


def _notice(receiver: Receiver, leader: AlertRecord, payload: Mapping[str, Any], stem: str, now: datetime) -> Notification:
    return Notification(
        idempotency_key=f"{stem}:{receiver.code}",
        receiver_code=receiver.code,
        message_type=MessageType.UPDATE,
        payload=payload,
        created_at=now,
        next_attempt_at=now,
        alert_id=leader.alert_id,
    )
