"""Kind `threshold`: a value against limits by colour, from the definition or from the register of limits as of the observation's day.

This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from alerts.lifecycle import Policy, Trace
from alerts.rules.context import (
    Calm,
    Context,
    blind_trace,
    calm_of,
    evaluation_of,
    instant_of,
    joined,
    judged,
    moment_of,
    quantity_of,
    rows_of,
)
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation, Level, level_of
from domain.errors import UnitError
from domain.model import Datastream
from domain.observation import FloatArray
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
    """Return the limits of the definition, or those of the register (zone, aquifer, station) of the stated kinds as of a day.

    That is the day of `context.limits_at`, or where none is asked for the day of the newest sample.
    """
    samples = context.samples
    newest = moment_of(samples.time[-1]) if samples is not None and len(samples.time) else context.now
    return _ladder_on(definition, context, (context.limits_at or newest).astimezone(context.zone).date())


def _ladder_on(definition: Threshold, context: Context, day: date) -> Ladder:
    if not definition.register_limits or context.datastream is None:
        return definition.ladder
    found: dict[Level, float] = {}
    for limit in context.limits:
        if limit.level is None or limit.kind not in definition.register_limits or not limit.is_in_force(day):
            continue
        try:
            found[level_of(limit.level)] = convert(limit.value, limit.unit, definition.unit)
        except (UnitError, KeyError):
            continue
    return definition.ladder.scaled(found)


def trace(definition: Threshold, context: Context) -> Trace:
    """Return what the rule says at each observation, by the limits that held on its day."""
    if context.samples is None:
        raise TypeError("a threshold rule needs samples")
    values = quantity_of(context, definition.quantity, definition.unit)
    parts = [_part(definition, context, rows, values) for rows in _stretches(definition, context)]
    return parts[0] if len(parts) == 1 else joined(parts)


def _stretches(definition: Threshold, context: Context) -> list[slice]:
    """Return the rows of the samples between which no limit begins or ends; at least one stretch, which may be empty."""
    assert context.samples is not None
    n = len(context.samples.time)
    if not definition.register_limits or n == 0:
        return [slice(0, n)]
    days = {day for limit in context.limits for day in (limit.effective_from, limit.effective_to) if day is not None}
    turns = np.array([instant_of(datetime.combine(day, time(), context.zone)) for day in sorted(days)], dtype="datetime64[us]")
    bounds = np.unique(np.concatenate(([0], np.searchsorted(context.samples.time, turns, side="left"), [n])))
    return [slice(int(first), int(last)) for first, last in pairwise(bounds)]


def _part(definition: Threshold, context: Context, rows: slice, values: tuple[FloatArray, FloatArray] | str) -> Trace:
    """Judge one stretch by the limits of its newest day."""
    assert context.samples is not None
    part = replace(context, samples=rows_of(context.samples, rows))
    assert part.samples is not None
    ladder = ladder_for(definition, part)
    if not ladder.levels:
        return blind_trace(part.samples.time, "no_limit")
    if isinstance(values, str):
        return blind_trace(part.samples.time, values)
    value, sigma = values[0][rows], values[1][rows]
    return judged(part, ladder, value, sigma, sigmas=definition.sigmas, needs_good=definition.needs_good)


def calm(definition: Threshold, datastream: Datastream, source: Datastream | None) -> Calm | None:
    """Return between which values of a datastream the rule says nothing; None where that is not known beforehand."""
    if definition.register_limits:
        return None
    return calm_of(definition.ladder, definition.quantity, definition.unit, datastream, source)


def evaluate(definition: Threshold, context: Context) -> Evaluation:
    """Return what the rule says at the newest observation."""
    return evaluation_of(trace(definition, context), context, ladder_for(definition, context), definition.unit)
