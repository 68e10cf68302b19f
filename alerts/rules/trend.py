"""Kind `trend`: subsidence that speeds up, or a limit that will be reached soon. This file finishes with `evaluate`.

Acceleration (domain brief 1.4): this year's rate is at least `ratio` times the mean rate of the five years before its end, and at least
`least`; the colour is that of the rate plus one step. Time to limit: the forecast's run says within how many years.
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
from domain.observation import FloatArray
from domain.units import convert

YEAR = timedelta(days=365.25)
WINDOW = timedelta(days=45)
_YEAR64, _WINDOW64 = np.timedelta64(YEAR, "us"), np.timedelta64(WINDOW, "us")


@dataclass(frozen=True, slots=True)
class Trend:
    """Definition of a trend rule; `ladder` is in mm/a (acceleration) or in years, less is worse (time_to_limit)."""

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


def validate(definition: Mapping[str, Any], where: str) -> Trend:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    quantity = reader.text("quantity", choices=("acceleration", "time_to_limit"))
    speeds_up = quantity == "acceleration"
    rule = Trend(
        scope=reader.scope(),
        ladder=Ladder(reader.levels(above=speeds_up), speeds_up, reader.number("deadband", default=0.0, least=0.0)),
        unit=reader.unit(),
        quantity=quantity,
        ratio=reader.number("ratio", default=1.5, least=1.0) if speeds_up else 1.0,
        least=reader.number("least", default=5.0, least=0.0) if speeds_up else 0.0,
        years=reader.number("mean_years", default=5.0, least=2.0) if speeds_up else 0.0,
        sigmas=reader.number("sigmas", default=1.0, least=0.0) if speeds_up else 0.0,
        policy=Policy(reader.duration("hold", default=Policy().hold), reader.duration("clear_hold", default=Policy().clear_hold)),
        action=reader.action(),
        status=reader.text("status", default="Actual", choices=("Actual", "Exercise")),
    )
    reader.finish()
    if not rule.scope.property and not rule.scope.datastream:
        raise reader.wrong("scope.property", "is missing.", "name the datastreams, e.g. property: '*_rate_12mo'")
    return rule


def ladder_for(definition: Trend, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: Trend, context: Context) -> Trace:
    """Return what an acceleration rule says at each rate: breach where the rate is `ratio` times its mean, one step above its colour."""
    if context.samples is None or context.datastream is None:
        raise TypeError("a trend rule needs samples")
    values = quantity_of(context, "subsidence", definition.unit)
    if isinstance(values, str):
        return blind_trace(context.samples.time, values)
    rate, sigma = values
    plain = judged(context, definition.ladder, rate, sigma, sigmas=definition.sigmas, needs_good=True)
    mean = mean_rates(definition, context)
    with np.errstate(invalid="ignore"):
        faster = (rate >= definition.ratio * np.maximum(mean, 0.0)) & (rate >= definition.least)
        still = rate >= (definition.ratio - 0.1) * np.maximum(mean, 0.0)
    unknown = ~np.isfinite(mean)
    reason = plain.reason.copy()
    reason[unknown] = "no_mean_rate"
    return Trace(
        time=plain.time,
        up=_one_step_up(np.where(faster, plain.up, 0)),
        keep=_one_step_up(np.where(still, np.maximum(plain.keep, climb(definition.ladder, rate)), 0)),
        unsure=_one_step_up(np.where(faster, plain.unsure, 0)),
        blind=plain.blind | unknown,
        value=plain.value,
        sigma=sigma,
        reason=np.where(faster | plain.blind | unknown, reason, ""),
    )


def _one_step_up(level: Any) -> Any:
    return np.where(level > 0, np.minimum(level + 1, int(Level.RED)), 0).astype(np.int8)


def mean_rates(definition: Trend, context: Context) -> FloatArray:
    """Return the mean subsidence rate of the years before each sample, (n,), in the rule's unit; NaN = cannot be told.

    Difference of two medians of the source, 45 days to either side of the window's ends: same season at both, so that the annual term
    falls out.
    """
    samples, source = context.samples, context.source
    if samples is None or source is None or source.datastream_id is None or context.series is None or not len(samples.time):
        return np.full(0 if samples is None else len(samples.time), np.nan)
    first, last = _moment(samples.time[0]), _moment(samples.time[-1])
    span = timedelta(days=365.25 * definition.years)
    history = context.series(source.datastream_id, first - span - WINDOW, last + timedelta(seconds=1))
    good = usable(history, context.events)
    time, value = history.time[good], history.result[good]
    factor = subsidence_factor(source, None)
    if isinstance(factor, str):
        return np.full(len(samples.time), np.nan)
    scale = factor * float(convert(1.0, f"{source.unit}/a", definition.unit)) / definition.years
    change = [_median(time, value, end - _WINDOW64, end) - _median(time, value, end - span64 - _WINDOW64, end - span64 + _WINDOW64)
              for span64 in [np.timedelta64(span, "us")] for end in samples.time]  # fmt: skip
    return np.asarray(change, dtype=np.float64) * scale


def _median(time: Any, value: FloatArray, start: Any, end: Any) -> float:
    low, high = np.searchsorted(time, start, side="left"), np.searchsorted(time, end, side="right")
    return float(np.median(value[low:high])) if high > low else float("nan")


def _moment(instant: Any) -> datetime:
    return datetime.fromisoformat(f"{np.datetime64(instant, 'us')}+00:00")


def evaluate(definition: Trend, context: Context) -> Evaluation:
    """Return what the rule says now: the newest rate, or the newest forecast's time to a limit."""
    if definition.quantity == "acceleration":
        return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
    return _time_to_limit(definition, context)


def _time_to_limit(definition: Trend, context: Context) -> Evaluation:
    result = context.runs.get("time_to_limit") or {}
    nothing = Evaluation(Verdict.CANNOT_TELL, Level.NONE, context.now, unit=definition.unit, reason="no_forecast")
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
