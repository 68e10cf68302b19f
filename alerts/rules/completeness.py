"""Kind `completeness`: the share of the expected observations that came, over a moving window.

Judged at each observation, so that late data mend it; a datastream that is wholly silent is the business of kind `silence`. Nothing is
said before the record has run for a window. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, blind_trace, evaluation_of
from alerts.rules.definition import Ladder, Reader, Stated
from alerts.rules.inputs import judged_rows, values_of
from domain.alert import Evaluation

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness(Stated):
    """Definition: levels are percent of what is expected, less is worse; `expected` is the interval if none is declared."""

    window: timedelta
    expected: timedelta | None


def validate(definition: Mapping[str, Any], where: str) -> Completeness:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader({"direction": "below", **definition}, where)
    rule = Completeness(
        **reader.stated(unit="%"),
        window=reader.duration("window", default=timedelta(days=1)),
        expected=reader.duration("expected", default=timedelta()) or None,
    )
    reader.finish()
    if rule.ladder.above:
        raise reader.wrong("direction", "is 'above'.", "leave it out: less is worse")
    if rule.window <= timedelta():
        raise reader.wrong("window", "is nothing.", "state a window, e.g. P1D or P30D")
    return rule


def ladder_for(definition: Completeness, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: Completeness, context: Context) -> Trace:
    """Return the completeness of the window that ends at each observation, percent, (n,)."""
    if context.samples is None or context.datastream is None:
        raise TypeError("this rule needs a datastream and its samples")
    declared = context.datastream.interval_s
    interval = timedelta(seconds=declared) if declared else definition.expected
    times = context.samples.time
    if interval is None:
        return blind_trace(times, "no_interval")
    came = values_of(context, context.datastream, 2 * definition.window).time
    window = np.timedelta64(definition.window // _TICK, "us")

    def until(moments: Any) -> Any:
        return np.searchsorted(came, moments, side="right")

    count = until(times) - until(times - window)
    running = until(times - window) > np.searchsorted(came, times - 2 * window, side="left")
    value = np.minimum(100.0 * count / (definition.window / interval), 100.0)
    reason = np.where(running, "", "window_not_full").astype(object)
    return judged_rows(
        times, definition.ladder, value, blind=~running, reason=reason, details={"received": count.astype(np.float64)}
    )


def evaluate(definition: Completeness, context: Context) -> Evaluation:
    """Return the completeness of the window that ends at the newest observation."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
