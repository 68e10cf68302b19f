"""How an alert stands now: its newest value and the worst so far, read from what is stored when somebody looks.

The record of an alert changes only when its episode does, so that its evidence can be recomputed; a value that grows within one level is in
the observations. This file finishes with `standing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alerts.replay import Replay
from alerts.rules import RULES, definition_of, is_traced
from alerts.rules.context import instant_of, moment_of
from domain.alerting import AlertRecord, Rule, RuleState
from domain.model import Datastream, Station


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest usable value of an alert's episode and the worst, in the rule's unit; None = unknown."""

    unit: str | None
    at: datetime | None
    value: float | None
    sigma: float | None
    worst_at: datetime | None
    worst: float | None


def standing(
    replay: Replay,
    alert: AlertRecord,
    rule: Rule,
    station: Station,
    datastream: Datastream | None,
    state: RuleState | None,
    now: datetime,
) -> Standing:
    """Return how an alert stands.

    Parameters
    ----------
    rule
        The version that the alert was judged by.
    state
        The last verdict of rule and scope, for a rule that looks at the newest forecast: of that the newest is all there is. A rule that
        looks at the clock has no value: how long it lasts says it.
    """
    unit = definition_of(rule).unit
    if not is_traced(rule) or datastream is None:
        known = state is not None and not RULES[rule.kind].by_clock and state.rule_version == rule.version and alert.ended is None
        value, at = (state.value, state.event_time) if known and state is not None else (None, None)
        return Standing(unit, at, value, None, None, None)
    trace, ladder = replay.since(rule, datastream, station, alert.onset, now)
    within = trace.time >= instant_of(alert.onset)
    if alert.ended is not None:
        within &= trace.time <= instant_of(alert.ended)
    rows = np.flatnonzero(within & ~trace.blind & np.isfinite(trace.value))
    if not len(rows):
        return Standing(unit, None, None, None, None, None)
    values = trace.value[rows] if ladder.above else -trace.value[rows]
    newest, worst = int(rows[-1]), int(rows[int(np.argmax(values))])
    sigma = float(trace.sigma[newest])
    return Standing(
        unit, moment_of(trace.time[newest]), float(trace.value[newest]), sigma if np.isfinite(sigma) else None,
        moment_of(trace.time[worst]), float(trace.value[worst]),
    )  # fmt: skip
