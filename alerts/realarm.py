"""What stands and is not acted on is announced anew after a time, as an Update of the same alert (ReAlarmTime of OPC UA part 9).

Acted on is what an open case holds, or what somebody acknowledged within that time. Whether it is due is read from what was issued and
acknowledged, so that a restart changes nothing. This file finishes with `Realarmer`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from alerts.audience import Audience
from alerts.holds import shelf_of
from alerts.matching import Labels, silence_for
from alerts.policy import Policy
from alerts.reconcile import is_history
from alerts.recorder import About, Recorder, Report
from alerts.store import AlertFilter, AlertStore
from alerts.times import Clock
from alerts.transitions import REALARMED, Turn
from domain.alert import AlertState, Level, MessageStatus, MessageType
from domain.alerting import AlertRecord

PAGE = 500


class Realarmer:
    """Announces anew.

    Parameters
    ----------
    store
        Alerts, cases and the outbox.
    recorder
        Writes messages.
    about
        What an alert is about.
    labels
        Its labels, or None where its rule or station are gone.
    """

    def __init__(
        self,
        store: AlertStore,
        recorder: Recorder,
        about: Callable[[AlertRecord], About],
        labels: Callable[[AlertRecord], Labels | None],
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._about = about
        self._labels = labels

    def run(self, audience: Audience, clock: Clock) -> int:
        """Announce what is due and return how many notifications that made; the clock is asked once a transaction, in it."""
        policy = audience.policy
        if policy.realarm_after is None:
            return 0
        now = clock()
        due = [alert for alert in self._standing(policy.realarm_from) if is_due(alert, policy, now)]
        in_hand = self._store.in_open_cases([alert.alert_id or 0 for alert in due])
        return sum(self._announce(alert, audience, clock) for alert in due if alert.alert_id not in in_hand)

    def _standing(self, least: Level) -> list[AlertRecord]:
        levels = tuple(level for level in Level if level >= least)
        wanted = AlertFilter(states=(AlertState.FIRING,), levels=levels, statuses=(MessageStatus.ACTUAL.value,))
        found: list[AlertRecord] = []
        place: str | None = None
        while True:
            page, place = self._store.list_alerts(wanted, after=place, limit=PAGE)
            found += page
            if place is None:
                return found

    def _announce(self, listed: AlertRecord, audience: Audience, clock: Clock) -> int:
        labels = self._labels(listed)
        if labels is None or silence_for(audience.silences, labels, clock()) is not None:
            return 0
        with self._store.transaction([listed.key]) as tx:
            alert, now = tx.alert(listed.alert_id or 0), clock()
            shelved = shelf_of(tx.alerts_of([alert.key]).get(alert.key, ()), now)
            if shelved is not None or not is_due(alert, audience.policy, now):
                return 0
            report = Report()
            waited = now - last_word(alert)
            turn = Turn(now, now, reason=f"stands for {_hours(waited)} h without anybody acting on it", kind=REALARMED)
            self._recorder.announce_again(tx, self._about(alert), alert, audience, turn, report)
            return report.notifications


def is_due(alert: AlertRecord, policy: Policy, now: datetime) -> bool:
    """Does an alert stand as it was issued, bad enough and for long enough without a word from anybody?"""
    issued = alert.memory.get("issued") or {}
    stands = issued.get("state") == AlertState.FIRING.value and issued.get("type") != MessageType.CANCEL.value
    if alert.state is not AlertState.FIRING or not stands or is_history(alert) or "suppressed" in alert.memory:
        return False
    return (
        policy.realarm_after is not None and alert.level >= policy.realarm_from and now - last_word(alert) >= policy.realarm_after
    )


def last_word(alert: AlertRecord) -> datetime:
    """Return when an alert was last issued, told after something had held it, or acknowledged."""
    said = [(alert.memory.get("issued") or {}).get("at"), alert.memory.get("told_at")]
    times = [datetime.fromisoformat(text) for text in said if text is not None] or [alert.updated_at]
    return max([*times, *([] if alert.acknowledged_at is None else [alert.acknowledged_at])])


def _hours(waited: timedelta) -> str:
    return f"{waited.total_seconds() / 3600:.1f}"
