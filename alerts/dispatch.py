"""Delivers the outbox: at least once, in order for each receiver, with patience, and never silently given up.

A notification is marked sent only after its receiver took it over, so a process that dies in between sends it again under the same
idempotency key. This file finishes with `backoff`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np

from alerts.notifiers.contract import DeliveryError, Notifier
from alerts.routing import Duty, digest_of, plan, read_duty
from alerts.store import AlertStore
from alerts.times import Clock, Times
from domain.alerting import Notification, Receiver
from domain.errors import InputError

LOG = logging.getLogger("groundwatch.dispatch")
HELD_AT_MOST = 10_000
"""How many held messages of a receiver are looked through for what may go: an urgent one behind them must be found."""
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 600.0
"""A receiver that is back after hours gets what waited within ten minutes."""
MAX_ATTEMPTS = 1200
"""More than six days at one attempt every five to ten minutes: a partner that is down over a long holiday still gets its messages."""


@dataclass(slots=True)
class DispatchReport:
    """What a run of the dispatcher did."""

    sent: int = 0
    failed: int = 0
    dead: int = 0


class Dispatcher:
    """Sends what is due.

    Parameters
    ----------
    store
        The outbox and the receivers.
    notifiers
        By kind of receiver.
    rng
        Source of the jitter.
    max_attempts
        After which a notification is given up (dead letter, kept and visible).
    batch
        Notifications a receiver and run.
    zone
        The node's zone, in which hours of duty and digests are meant.
    at_once
        Receivers that are served at the same time, each by itself in order: a slow one holds up no other.
    """

    def __init__(
        self,
        store: AlertStore,
        notifiers: Mapping[str, Notifier],
        rng: np.random.Generator,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        batch: int = 100,
        zone: tzinfo = UTC,
        at_once: int = 1,
    ) -> None:
        self._store = store
        self._at_once = at_once
        self._notifiers = notifiers
        self._rng = rng
        self._max_attempts = max_attempts
        self._batch = batch
        self._zone = zone

    def run_once(self, now: datetime, *, go_on: Callable[[], bool] = lambda: True, clock: Clock | None = None) -> DispatchReport:
        """Send what is due at `now` to each enabled receiver; one that fails holds up only its own later messages.

        `go_on` is asked before each message, so that who may send no longer stops in the middle; the clock tells when each was taken over
        or refused (None = time stands still at `now`), for a run is as long as its slowest receiver.
        """
        times = Times.of(now, clock)
        receivers = self._store.receivers()
        if min(len(receivers), self._at_once) < 2:
            reports = [self._serve(receiver, times, go_on) for receiver in receivers]
        else:
            with ThreadPoolExecutor(min(len(receivers), self._at_once), thread_name_prefix="receiver") as pool:
                reports = list(pool.map(lambda receiver: self._serve(receiver, times, go_on), receivers))
        return DispatchReport(
            sum(item.sent for item in reports), sum(item.failed for item in reports), sum(item.dead for item in reports)
        )

    def _serve(self, receiver: Receiver, times: Times, go_on: Callable[[], bool]) -> DispatchReport:
        """Send one receiver what is due to it, in order."""
        report = DispatchReport()
        for notification in self._due(receiver, times):
            due = notification.next_attempt_at <= times.as_of
            if not due or not go_on() or not self._send(receiver, notification, times.clock, report):
                break
        return report

    def _due(self, receiver: Receiver, times: Times) -> Sequence[Notification]:
        """Return what may go now; what belongs into a digest is bundled first, and the digest comes with the next run."""
        duty = self._duty(receiver)
        waiting = self._store.waiting(receiver.code, HELD_AT_MOST if duty.holds_back else self._batch)
        chosen = plan(duty, waiting, times.as_of, self._zone)
        if chosen.bundle and chosen.moment is not None:
            digest = digest_of(receiver, chosen.bundle, chosen.moment, times.clock())
            self._store.bundle(digest, [item.notification_id or 0 for item in chosen.bundle])
        return chosen.send[: self._batch]

    def _duty(self, receiver: Receiver) -> Duty:
        """Read the hours; a receiver whose settings cannot be read is told at any hour rather than never."""
        try:
            return read_duty(receiver.settings, receiver.code)
        except InputError as error:
            LOG.warning("%s", error)
            return Duty()

    def _send(self, receiver: Receiver, notification: Notification, clock: Clock, report: DispatchReport) -> bool:
        """Send one; return whether the receiver's next one may go."""
        identity = notification.notification_id
        if identity is None:
            raise ValueError("a notification that is not stored cannot be sent")
        try:
            self._deliver(receiver, notification)
        except DeliveryError as error:
            if error.retryable and notification.attempts + 1 < self._max_attempts:
                wait = timedelta(seconds=max(error.after_s or 0.0, backoff(notification.attempts, self._rng)))
                self._store.mark_failed(identity, error.what, clock() + wait)
                report.failed += 1
                return False
            self._store.mark_dead(identity, error.what)
            report.dead += 1
            return True
        self._store.mark_sent(identity, clock())
        report.sent += 1
        return True

    def _deliver(self, receiver: Receiver, notification: Notification) -> None:
        notifier = self._notifiers.get(receiver.kind)
        if notifier is None:
            raise DeliveryError(f"there is no notifier of kind {receiver.kind}", retryable=False)
        notifier.deliver(receiver, notification)


def backoff(attempts: int, rng: np.random.Generator) -> float:
    """Return seconds to wait after `attempts` earlier failures: doubling from 5 s to ten minutes, half of it at random."""
    longest = min(FIRST_WAIT_S * 2.0 ** min(attempts, 20), LONGEST_WAIT_S)
    return float(longest * (0.5 + 0.5 * rng.random()))
