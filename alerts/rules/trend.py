"""Kinds `acceleration` and `time_to_limit`: subsidence that speeds up, or a limit that will be reached soon.

Kind `trend` is both, told apart by its `quantity`, as rules were written before each had a kind of its own. This file finishes with
`evaluate`.

Acceleration (domain brief 1.4): the rate of the last twelve months is at least `ratio` times the mean rate of the five years before
them, and at least `least`, both beyond their errors; the colour is that of the rate plus one step. Time to limit: the forecast's run
says within how many years.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alerts.lifecycle import Policy, Trace
from alerts.rules.context import (
    Context,
    blind_trace,
    climb,
    evaluation_of,
    judged,
    quantity_of,
    subsidence_factor,
    usable,
)
from alerts.rules.definition import Action, Ladder, Reader, Scope
from domain.alert import Evaluation, Level, Verdict
from domain.observation import FloatArray, TimeArray
from domain.ports import SeriesData
from domain.units import convert

YEAR = timedelta(days=365.25)
WINDOW = timedelta(days=45)
RATIO_DEADBAND = 0.1
LEAST_FOR_SCATTER = 5
_YEAR64, _WINDOW64 = np.timedelta64(YEAR, "us"), np.timedelta64(WINDOW, "us")


@dataclass(frozen=True, slots=True)
class Trend:
    """Definition of a trend rule.

    `ladder` is in years, less is worse (time_to_limit), or a rate's (acceleration), whose limits stand one colour higher than stated.
    """

    scope: Scope
    ladder: Ladder
    unit: str
    quantity: str
    ratio: float
    least: float
    years: float
    sigmas: float
    policy: Policy
    action: Action
    status: str
    fresh_for: timedelta | None = None


def validate(definition: Mapping[str, Any], where: str) -> Trend:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    quantity = reader.text("quantity", choices=("acceleration", "time_to_limit"))
    speeds_up = quantity == "acceleration"
    levels = reader.levels(above=speeds_up)
    rule = Trend(
        scope=reader.scope(),
        ladder=Ladder(
            _one_step_up(levels) if speeds_up else levels, speeds_up, reader.number("deadband", default=0.0, least=0.0)
        ),
        unit=reader.unit(),
        quantity=quantity,
        ratio=reader.number("ratio", default=1.5, least=1.0) if speeds_up else 1.0,
        least=reader.number("least", default=5.0, least=0.0) if speeds_up else 0.0,
        years=reader.number("mean_years", default=5.0, least=2.0) if speeds_up else 0.0,
        sigmas=reader.number("sigmas", default=1.0, least=0.0) if speeds_up else 0.0,
        policy=Policy(reader.duration("hold", default=Policy().hold), reader.duration("clear_hold", default=Policy().clear_hold)),
        action=reader.action(),
        status=reader.text("status", default="Actual", choices=("Actual", "Exercise")),
        fresh_for=reader.duration("fresh_for", default=timedelta()) or None,
    )
    reader.finish()
    if not rule.ladder.levels:
        raise reader.wrong("levels.red", "stands alone.", "state a milder limit too: acceleration raises the colour by one step")
    if not rule.scope.property and not rule.scope.datastream:
        raise reader.wrong("scope.property", "is missing.", "name the datastreams, e.g. property: '*_rate_12mo'")
    return rule


def validate_acceleration(definition: Mapping[str, Any], where: str) -> Trend:
    """Return the typed definition of kind `acceleration`."""
    return _of_kind(definition, where, "acceleration")


def validate_time_to_limit(definition: Mapping[str, Any], where: str) -> Trend:
    """Return the typed definition of kind `time_to_limit`."""
    return _of_kind(definition, where, "time_to_limit")


def _of_kind(definition: Mapping[str, Any], where: str, quantity: str) -> Trend:
    if definition.get("quantity", quantity) != quantity:
        raise Reader(definition, where).wrong("quantity", f"is {definition['quantity']!r}.", "leave it out: the kind says it")
    return validate({**definition, "quantity": quantity}, where)


def _one_step_up(levels: Mapping[Level, float]) -> dict[Level, float]:
    """Return the limits, each with the next worse colour; red has none, so that orange's limit is red's and red's own is left out."""
    return {Level(level + 1): limit for level, limit in levels.items() if level < Level.RED}


def ladder_for(definition: Trend, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: Trend, context: Context) -> Trace:
    """Return what an acceleration rule says at each rate, with the errors of both rates.

    Breach where `rate - ratio x mean` and `rate - least` are both at least `sigmas` of their own standard errors; an excess that is
    smaller than that has no colour. `details` hold the mean and its error.
    """
    if context.samples is None or context.datastream is None:
        raise TypeError("a trend rule needs samples")
    values = quantity_of(context, "subsidence", definition.unit)
    if isinstance(values, str):
        return blind_trace(context.samples.time, values)
    rate, sigma = values
    plain = judged(context, definition.ladder, rate, sigma, sigmas=definition.sigmas, needs_good=True)
    mean, mean_sigma = mean_rates(definition, context)
    ordinary = np.maximum(mean, 0.0)
    own = np.where(np.isfinite(sigma), sigma, 0.0)
    with np.errstate(invalid="ignore"):
        excess, excess_sigma = rate - definition.ratio * ordinary, np.hypot(own, definition.ratio * mean_sigma)
        likely = (excess >= 0) & (rate >= definition.least)
        faster = (excess >= definition.sigmas * excess_sigma) & (rate - definition.sigmas * own >= definition.least)
        still = rate >= (definition.ratio - RATIO_DEADBAND) * ordinary
    unknown = np.isnan(mean) | np.isnan(mean_sigma)
    reason = np.where(faster, plain.reason, np.where(likely, "not_significant", ""))
    reason[unknown] = np.where(np.isnan(mean), "no_mean_rate", "no_mean_sigma")[unknown]
    reason[plain.blind] = plain.reason[plain.blind]
    return Trace(
        time=plain.time,
        up=np.where(faster, plain.up, 0).astype(np.int8),
        keep=np.where(still, np.maximum(plain.keep, climb(definition.ladder, rate)), 0).astype(np.int8),
        unsure=np.where(faster, plain.unsure, 0).astype(np.int8),
        blind=plain.blind | unknown,
        value=plain.value,
        sigma=sigma,
        reason=reason.astype(object),
        details={"mean_rate": mean, "mean_rate_sigma": mean_sigma},
    )


def mean_rates(definition: Trend, context: Context) -> tuple[FloatArray, FloatArray]:
    """Return the mean subsidence rate of the years before the last one, and its standard error, (n,), in the rule's unit.

    Difference of two medians of the source, 45 days to either side of the beginning and the end of those years: same season at both,
    so that the annual term falls out, and no sample of the last year, so that the two rates are told apart. NaN = cannot be told.
    """
    samples, source = context.samples, context.source
    nothing = np.full(0 if samples is None else len(samples.time), np.nan)
    if samples is None or source is None or source.datastream_id is None or context.series is None or not len(samples.time):
        return nothing, nothing
    factor = subsidence_factor(source, None)
    if isinstance(factor, str):
        return nothing, nothing
    span = timedelta(days=365.25 * definition.years)
    first, last = _moment(samples.time[0]) - YEAR - span - WINDOW, _moment(samples.time[-1]) - YEAR + WINDOW
    history = _good(context.series(source.datastream_id, first, last + timedelta(seconds=1)), context)
    scale = factor * float(convert(1.0, f"{source.unit}/a", definition.unit)) / definition.years
    ends = np.array([_middle(history, end - _YEAR64) for end in samples.time])
    begins = np.array([_middle(history, end - _YEAR64 - np.timedelta64(span, "us")) for end in samples.time])
    return (ends[:, 0] - begins[:, 0]) * scale, np.hypot(ends[:, 1], begins[:, 1]) * abs(scale)


def _good(series: SeriesData, context: Context) -> tuple[TimeArray, FloatArray, FloatArray]:
    good = usable(series, context.events)
    return series.time[good], series.result[good], series.sigma[good]


def _middle(history: tuple[TimeArray, FloatArray, FloatArray], at: Any) -> tuple[float, float]:
    """Return the median around a time and its standard error.

    The error is the greater of what the samples state and how they scatter (1.4826 MAD); it is not lowered by their number, since errors
    within one season are shared (flicker noise, datum, weather).
    """
    time, value, sigma = history
    rows = slice(np.searchsorted(time, at - _WINDOW64, side="left"), np.searchsorted(time, at + _WINDOW64, side="right"))
    if rows.stop <= rows.start:
        return float("nan"), float("nan")
    middle = float(np.median(value[rows]))
    stated = sigma[rows][np.isfinite(sigma[rows])]
    errors = [float(np.median(stated))] if len(stated) else []
    if rows.stop - rows.start >= LEAST_FOR_SCATTER:
        errors.append(1.4826 * float(np.median(np.abs(value[rows] - middle))))
    return middle, max(errors, default=float("nan"))


def _moment(instant: Any) -> datetime:
    return datetime.fromisoformat(f"{np.datetime64(instant, 'us')}+00:00")


def evaluate(definition: Trend, context: Context) -> Evaluation:
    """Return what the rule says now: the newest rate, or the newest forecast's time to a limit."""
    if definition.quantity == "acceleration":
        return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
    return _time_to_limit(definition, context)


def _time_to_limit(definition: Trend, context: Context) -> Evaluation:
    result = context.runs.get("time_to_limit") or {}
    missing = "no_forecast" if context.limits else "no_limit"
    nothing = Evaluation(Verdict.CANNOT_TELL, Level.NONE, context.now, unit=definition.unit, reason=missing)
    answers = {code: answer for code, answer in (result.get("limits") or {}).items() if isinstance(answer, Mapping)}
    dated = {code: _years_ahead(answer, context.now) for code, answer in answers.items()}
    known = {code: years for code, years in dated.items() if years is not None}
    if not known:
        told = [answer for answer in answers.values() if answer.get("status") == "beyond_horizon"]
        return Evaluation(Verdict.OK, Level.NONE, context.now, unit=definition.unit, reason="beyond_horizon") if told else nothing
    code, years = min(known.items(), key=lambda item: item[1])
    value = float(convert(years, "a", definition.unit))
    level = Level(int(climb(definition.ladder, np.array([value]))[0]))
    return Evaluation(
        verdict=Verdict.BREACH if level else Verdict.OK,
        level=level,
        at=context.now,
        value=value,
        unit=definition.unit,
        limit=definition.ladder.levels.get(level),
        evidence={"limit_code": code, "forecast": dict(answers[code]), "method": "time_to_limit"},
    )


def _years_ahead(answer: Mapping[str, Any], now: datetime) -> float | None:
    if answer.get("status") == "reached":
        return 0.0
    if answer.get("status") != "within" or not answer.get("time"):
        return None
    return max((datetime.fromisoformat(str(answer["time"])) - now) / YEAR, 0.0)
