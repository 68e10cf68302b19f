"""Who could be told now, and what holds messages back: read from storage when the first alert asks for it.

This file finishes with `Audience`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property

from alerts.holds import Hiding
from alerts.matching import Labels, matches
from alerts.policy import Policy, policy_in_force
from alerts.store import AlertFilter, AlertStore
from domain.alert import AlertState
from domain.alerting import AlertRecord, Receiver, Silence

PAGE = 1000


class Audience:
    """Receivers, silences, policy and the alerts that may hide others, as of one moment; most evaluations never ask.

    Parameters
    ----------
    store
        Where they are kept.
    now
        The time, aware.
    labels
        The labels of a stored alert, or None where its rule or station are gone.
    """

    def __init__(self, store: AlertStore, now: datetime, labels: Callable[[AlertRecord], Labels | None]) -> None:
        self._store = store
        self._now = now
        self._labels = labels

    @cached_property
    def receivers(self) -> Sequence[Receiver]:
        """Enabled receivers, by code."""
        return self._store.receivers()

    @cached_property
    def silences(self) -> Sequence[Silence]:
        """Silences in force."""
        return self._store.silences(self._now)

    @cached_property
    def policy(self) -> Policy:
        """What holds messages back."""
        return policy_in_force(self._store)

    @cached_property
    def _hiders(self) -> tuple[Hiding, ...]:
        kept = []
        for alert in self._firing():
            labels = self._labels(alert)
            if labels is not None and any(matches(rule.by, labels) for rule in self.policy.inhibition):
                kept.append(Hiding(alert.identifier, labels))
        return tuple(kept)

    def hiders(self) -> tuple[Hiding, ...]:
        """Return the firing alerts that may hide others."""
        return self._hiders

    def _firing(self) -> Sequence[AlertRecord]:
        found: list[AlertRecord] = []
        after: str | None = None
        while True:
            page, after = self._store.list_alerts(AlertFilter(states=(AlertState.FIRING,)), after=after, limit=PAGE)
            found += page
            if after is None:
                return found
