"""Kind `silence`: a datastream that was not heard of for longer than it should be, judged against the clock.

The scope of an alert is the station: one gateway that falls silent is one alert with the list of its datastreams. An instrument alarm
needs no confirmation and stays inside. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.lifecycle import Policy
from alerts.rules.context import Context
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation, Level, Verdict


@dataclass(frozen=True, slots=True)
class SilenceRule:
    """Definition: levels are multiples of the expected interval."""

    scope: Scope
    ladder: Ladder
    expected: timedelta | None
    grace: timedelta
    action: Action
    status: str
    unit: str = "h"
    quantity: str = "silence"
    policy: Policy = Policy()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long one datastream has been silent, as a multiple of its interval."""

    datastream: str
    last_time: datetime
    interval: timedelta
    silent_for: timedelta
    factor: float


def validate(definition: Mapping[str, Any], where: str) -> SilenceRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    expected = reader.duration("expected", default=timedelta())
    rule = SilenceRule(
        scope=reader.scope(),
        ladder=Ladder(reader.levels()),
        expected=expected or None,
        grace=reader.duration("grace", default=timedelta()),
        action=reader.action(),
        status=reader.text("status", default="Actual", choices=("Actual", "Exercise")),
    )
    reader.finish()
    for level, factor in rule.ladder.levels.items():
        if factor < 1:
            raise reader.wrong(f"levels.{level.word}", f"is {factor:g}.", "state a multiple of the expected interval, 1 or more")
    return rule


def quiet_ones(definition: SilenceRule, context: Context) -> list[Quiet]:
    """Return how silent each datastream with an expected interval is, the most silent first."""
    found = []
    for arrival in context.arrivals:
        interval = definition.expected or _declared(arrival.datastream.interval_s)
        if interval is None or arrival.last_time is None:
            continue
        silent_for = max(context.now - arrival.last_time - definition.grace, timedelta())
        found.append(Quiet(arrival.datastream.code, arrival.last_time, interval, silent_for, silent_for / interval))
    return sorted(found, key=lambda quiet: (-quiet.factor, quiet.datastream))


def _declared(interval_s: float | None) -> timedelta | None:
    return timedelta(seconds=interval_s) if interval_s else None


def evaluate(definition: SilenceRule, context: Context) -> Evaluation:
    """Return whether the station's most silent datastream was silent for too long.

    The onset (`evidence['onset']`) is when the mildest limit ran out, the value is the silence in hours.
    """
    quiet = quiet_ones(definition, context)
    if not quiet:
        return Evaluation(Verdict.CANNOT_TELL, Level.NONE, context.now, unit="h", reason="no_interval_or_no_observation")
    worst = quiet[0]
    level = max((level for level, factor in definition.ladder.levels.items() if worst.factor >= factor), default=Level.NONE)
    limit = definition.ladder.levels.get(level)
    mildest = min(definition.ladder.levels.values())
    return Evaluation(
        verdict=Verdict.BREACH if level else Verdict.OK,
        level=level,
        at=context.now,
        value=worst.silent_for / timedelta(hours=1),
        unit="h",
        limit=None if limit is None else limit * worst.interval / timedelta(hours=1),
        evidence={
            "onset": (worst.last_time + definition.grace + mildest * worst.interval).isoformat(),
            "last_heard": max(item.last_time for item in quiet).isoformat(),
            "arrivals": [
                {
                    "datastream": item.datastream,
                    "last_time": item.last_time.isoformat(),
                    "interval_s": item.interval.total_seconds(),
                }
                for item in quiet[:50]
            ],
        },
    )
