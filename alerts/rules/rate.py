"""Kind `rate`: a derived rate against limits, where the lower 1-sigma bound must pass; an interim rate waits for a person.

It differs from a threshold in its defaults alone, so it has no import of that plugin: both read the shared ladder. This file finishes
with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from alerts.lifecycle import Policy, Trace
from alerts.rules.context import Calm, Context, blind_trace, calm_of, evaluation_of, judged, quantity_of
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation
from domain.model import Datastream


@dataclass(frozen=True, slots=True)
class Rate:
    """Definition of a rate rule."""

    scope: Scope
    ladder: Ladder
    unit: str
    quantity: str
    policy: Policy
    sigmas: float
    action: Action
    status: str
    fresh_for: timedelta | None = None


def validate(definition: Mapping[str, Any], where: str) -> Rate:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    rule = Rate(
        scope=reader.scope(),
        ladder=reader.ladder(),
        unit=reader.unit(),
        quantity=reader.text("quantity", default="subsidence", choices=("value", "subsidence")),
        policy=Policy(reader.duration("hold", default=Policy().hold), reader.duration("clear_hold", default=Policy().clear_hold)),
        sigmas=reader.number("sigmas", default=1.0, least=0.0),
        action=reader.action(),
        status=reader.text("status", default="Actual", choices=("Actual", "Exercise")),
        fresh_for=reader.duration("fresh_for", default=timedelta()) or None,
    )
    reader.finish()
    if not rule.scope.property and not rule.scope.datastream:
        raise reader.wrong("scope.property", "is missing.", "name the rate's datastreams, e.g. property: '*_rate_12mo'")
    return rule


def ladder_for(definition: Rate, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: Rate, context: Context) -> Trace:
    """Return what the rule says at each rate; an interim rate (quality unknown) or one without sigma is unsure."""
    if context.samples is None:
        raise TypeError("a rate rule needs samples")
    values = quantity_of(context, definition.quantity, definition.unit)
    if isinstance(values, str):
        return blind_trace(context.samples.time, values)
    return judged(context, definition.ladder, *values, sigmas=definition.sigmas, needs_good=True)


def calm(definition: Rate, datastream: Datastream, source: Datastream | None) -> Calm | None:
    """Return between which values of a datastream the rule says nothing; None where that is not known beforehand."""
    return calm_of(definition.ladder, definition.quantity, definition.unit, datastream, source)


def evaluate(definition: Rate, context: Context) -> Evaluation:
    """Return what the rule says at the newest rate."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
