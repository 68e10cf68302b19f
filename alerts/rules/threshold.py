"""Kind `threshold`: a value against limits by colour, from the definition or from the register of limits.

This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from alerts.lifecycle import Policy, Trace
from alerts.rules.context import Calm, Context, blind_trace, calm_of, evaluation_of, judged, quantity_of
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation, Level, level_of
from domain.errors import UnitError
from domain.model import Datastream
from domain.units import convert


@dataclass(frozen=True, slots=True)
class Threshold:
    """Definition of a threshold (or rate) rule."""

    scope: Scope
    ladder: Ladder
    unit: str
    quantity: str
    policy: Policy
    sigmas: float
    needs_good: bool
    register_limits: tuple[str, ...]
    action: Action
    status: str
    fresh_for: timedelta | None = None


def read(reader: Reader, *, sigmas: float, needs_good: bool) -> Threshold:
    """Read the fields that threshold and rate rules share, with the kind's own defaults."""
    source = reader.text("limits", default="definition", choices=("definition", "register"))
    kinds = reader.names("limit_kinds", default=("limit",)) if source == "register" else ()
    definition = Threshold(
        scope=reader.scope(),
        ladder=reader.ladder(required=source == "definition"),
        unit=reader.unit(),
        quantity=reader.text("quantity", default="value", choices=("value", "subsidence")),
        policy=Policy(reader.duration("hold", default=Policy().hold), reader.duration("clear_hold", default=Policy().clear_hold)),
        sigmas=reader.number("sigmas", default=sigmas, least=0.0),
        needs_good=reader.flag("needs_final", default=needs_good),
        register_limits=kinds,
        action=reader.action(),
        status=reader.text("status", default="Actual", choices=("Actual", "Exercise")),
        fresh_for=reader.duration("fresh_for", default=timedelta()) or None,
    )
    reader.finish()
    return definition


def validate(definition: Mapping[str, Any], where: str) -> Threshold:
    """Return the typed definition, or raise `InputError` naming the field."""
    return read(Reader(definition, where), sigmas=0.0, needs_good=False)


def ladder_for(definition: Threshold, context: Context) -> Ladder:
    """Return the limits that hold here: the definition's, or those of the register (zone, aquifer, station) of the stated kinds."""
    if not definition.register_limits or context.datastream is None:
        return definition.ladder
    found: dict[Level, float] = {}
    for limit in context.limits:
        if limit.level is None or limit.kind not in definition.register_limits:
            continue
        try:
            found[level_of(limit.level)] = convert(limit.value, limit.unit, definition.unit)
        except (UnitError, KeyError):
            continue
    return definition.ladder.scaled(found)


def trace(definition: Threshold, context: Context) -> Trace:
    """Return what the rule says at each observation."""
    if context.samples is None:
        raise TypeError("a threshold rule needs samples")
    ladder = ladder_for(definition, context)
    if not ladder.levels:
        return blind_trace(context.samples.time, "no_limit")
    values = quantity_of(context, definition.quantity, definition.unit)
    if isinstance(values, str):
        return blind_trace(context.samples.time, values)
    return judged(context, ladder, *values, sigmas=definition.sigmas, needs_good=definition.needs_good)


def calm(definition: Threshold, datastream: Datastream, source: Datastream | None) -> Calm | None:
    """Return between which values of a datastream the rule says nothing; None where that is not known beforehand."""
    if definition.register_limits:
        return None
    return calm_of(definition.ladder, definition.quantity, definition.unit, datastream, source)


def evaluate(definition: Threshold, context: Context) -> Evaluation:
    """Return what the rule says at the newest observation."""
    return evaluation_of(trace(definition, context), context, ladder_for(definition, context), definition.unit)
