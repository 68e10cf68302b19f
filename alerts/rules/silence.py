"""Kind `silence`: a datastream that was not heard of for longer than it should be, judged against the clock.

The scope of an alert is the station: one gateway that falls silent is one alert with the list of its datastreams. An instrument alarm
needs no confirmation and stays inside. Only what somebody expects to hear from can be silent: a confirmed datastream with an interval at
a confirmed station, and not a station whose whole record had ended long before it was received. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.lifecycle import Policy
from alerts.rules.context import Arrival, Context
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation, Level, Verdict

ENDED_FOR = timedelta(days=365)
ENDED_INTERVALS = 10
"""A record that came in so much later than its newest observation is an archive: a year, and ten intervals for rare surveys."""


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
    """Return how silent each confirmed datastream with an expected interval is, the most silent first."""
    found = []
    for arrival in context.arrivals:
        interval = _interval(definition, arrival)
        if interval is None or arrival.last_time is None or not (context.station.confirmed and arrival.datastream.confirmed):
            continue
        silent_for = max(context.now - arrival.last_time - definition.grace, timedelta())
        found.append(Quiet(arrival.datastream.code, arrival.last_time, interval, silent_for, silent_for / interval))
    return sorted(found, key=lambda quiet: (-quiet.factor, quiet.datastream))


def _interval(definition: SilenceRule, arrival: Arrival) -> timedelta | None:
    declared = arrival.datastream.interval_s
    return definition.expected or (timedelta(seconds=declared) if declared else None)


def is_archive(definition: SilenceRule, context: Context) -> bool:
    """Had the whole record of the station ended long before it was received, so that nobody ever expected to hear from it?

    All of the station, because one old correction of a datastream that was live must not make an archive of it while others still come.
    """
    heard = [arrival for arrival in context.arrivals if arrival.last_time is not None]
    return bool(heard) and all(_came_after_its_end(definition, arrival) for arrival in heard)


def _came_after_its_end(definition: SilenceRule, arrival: Arrival) -> bool:
    if arrival.last_time is None or arrival.received_at is None:
        return False
    interval = _interval(definition, arrival) or timedelta()
    return arrival.received_at - arrival.last_time > max(ENDED_FOR, ENDED_INTERVALS * interval)


def _nobody_expects(definition: SilenceRule, context: Context) -> str:
    """Return why nothing can be silent here."""
    known = any(_interval(definition, arrival) and arrival.last_time for arrival in context.arrivals)
    return "unconfirmed" if known else "no_interval_or_no_observation"


def evaluate(definition: SilenceRule, context: Context) -> Evaluation:
    """Return whether the station's most silent datastream was silent for too long.

    The onset (`evidence['onset']`) is when the mildest limit ran out, the value is the silence in hours. Where nobody expects to hear
    anything (`unconfirmed`, `never_live`, no interval) it cannot be told: that opens no alert and resolves none.
    """
    quiet = quiet_ones(definition, context)
    if not quiet or is_archive(definition, context):
        reason = "never_live" if quiet else _nobody_expects(definition, context)
        return Evaluation(Verdict.CANNOT_TELL, Level.NONE, context.now, unit="h", reason=reason)
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
