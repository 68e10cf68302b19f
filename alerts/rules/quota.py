"""Kind `quota`: what a licence allows against what was taken in its year so far, and against what will have been taken at its end.

The projection is linear: taken / days gone x days of the licence year, which need not be the calendar year. Taking without a licence in
force has a colour of its own. An instrument alarm: it needs no confirmation and stays inside. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, blind_trace, climb, evaluation_of, instant_of
from alerts.rules.definition import Ladder, Reader, Stated
from alerts.rules.inputs import Totals, Values, judged_rows, merged_times, moments, values_of
from domain.alert import Evaluation, Level, level_of
from domain.errors import UnitError
from domain.licence import Licence
from domain.observation import FloatArray
from domain.units import convert

_TICK = timedelta(microseconds=1)
_YEAR = timedelta(days=367)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(Stated):
    """Definition: levels are percent of the quota that will be used by the end of the licence year.

    `used_levels` are percent that is used already; `expired` is the colour of taking without a licence in force; nothing is projected
    before `least_days`; `quantity` says what the observations are: `volumes` of their extents, or what is `used` since the licence year
    began.
    """

    used_levels: Ladder
    expired: Level
    least_days: float
    least_coverage: float


def validate(definition: Mapping[str, Any], where: str) -> Quota:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    rule = Quota(
        **reader.stated(unit="%", quantities=("volumes", "used")),
        used_levels=Ladder(reader.levels("used_levels", required=False)),
        expired=level_of(reader.text("expired", default="red", choices=("blue", "yellow", "orange", "red"))),
        least_days=reader.number("least_days", default=30.0, least=1.0),
        least_coverage=reader.number("least_coverage", default=0.9, least=0.0),
    )
    reader.finish()
    if not rule.ladder.above:
        raise reader.wrong("direction", "is 'below'.", "leave it out: more is worse")
    if not rule.scope.property and not rule.scope.datastream:
        raise reader.wrong("scope.property", "is missing.", "name the volumes taken, e.g. property: abstraction_volume")
    return rule


def ladder_for(definition: Quota, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


@dataclass(frozen=True, slots=True)
class _Year:
    """One licence year in which something was taken."""

    licence: Licence | None
    begin: datetime
    end: datetime


def trace(definition: Quota, context: Context) -> Trace:
    """Return what the projection says at the end of each extent, percent of the quota, (n,).

    `details`: `used_percent`, `used_m3`, `projected_m3`, `quota_m3`, `days_gone`, `days_of_year`, `expired` (1 = no licence in force).
    A breach is told even where meters saw only part of the time, since what was not seen can only add to it; *ok* is not.
    """
    if context.samples is None or context.datastream is None:
        raise TypeError("this rule needs a datastream and its samples")
    if not context.licences:
        return blind_trace(context.samples.time, "no_licence")
    try:
        scale = float(convert(1.0, context.datastream.unit, "m3"))
    except UnitError:
        return blind_trace(context.samples.time, "unlike_unit")
    values = values_of(context, context.datastream, _YEAR)
    times = merged_times(context, [values], ends=True)
    years = [_year_of(context.licences, moment, context.zone) for moment in moments(times)]
    used, covered = _used(definition, values, times, years)
    return _judge(definition, times, years, used * scale, covered, _flows(values, times))


def _year_of(licences: Sequence[Licence], moment: datetime, zone: tzinfo) -> _Year:
    """Return the licence year that the time just before `moment` is in.

    Without a licence in force it is that of the last version before, and before all of them that of the first: what begins later says
    nothing of what was.
    """
    day = (moment - _TICK).astimezone(zone).date()
    valid = [licence for licence in licences if licence.is_in_force(day)]
    begun = [licence for licence in licences if licence.begins <= day]
    begin, end = (valid or begun or list(licences[:1]))[-1].year_of(day)
    return _Year(valid[-1] if valid else None, _midnight(begin, zone), _midnight(end, zone))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _used(definition: Quota, values: Values, times: Any, years: Sequence[_Year]) -> tuple[FloatArray, FloatArray]:
    """Return what was used in the licence year up to each time, and the seconds that the meter saw."""
    begins = np.array([instant_of(year.begin) for year in years], dtype="datetime64[us]")
    if definition.quantity == "used":
        used, _ = values.at(times, _TICK)
        return used, (times - begins).astype("timedelta64[us]").astype(np.float64) / 1e6
    return Totals.of(values).between(begins, times)


def _flows(values: Values, times: Any) -> Any:
    """Return at which times something was taken since the time before."""
    counted = Totals.of(values)
    before = np.concatenate((times[:1] - np.timedelta64(366, "D"), times[:-1]))
    return counted.between(before, times)[0] > 0


def _judge(definition: Quota, times: Any, years: Sequence[_Year], used: FloatArray, covered: FloatArray, flows: Any) -> Trace:
    quota = np.array([year.licence.quota_m3_per_a or np.nan if year.licence else np.nan for year in years], dtype=np.float64)
    gone = np.array([(moment - year.begin) / timedelta(days=1) for moment, year in zip(moments(times), years, strict=True)])
    length = np.array([(year.end - year.begin) / timedelta(days=1) for year in years])
    expired = np.array([year.licence is None for year in years], dtype=np.bool_)
    free = np.array([year.licence is not None and year.licence.quota_m3_per_a is None for year in years], dtype=np.bool_)
    with np.errstate(invalid="ignore", divide="ignore"):
        projected = np.where(gone >= definition.least_days, used / gone * length, used)
        percent, used_percent = 100.0 * projected / quota, 100.0 * used / quota
    told = np.where(free | expired, 0.0, percent)
    partial = covered < definition.least_coverage * gone * 86400.0
    rows = judged_rows(times, definition.ladder, told)
    already = climb(definition.used_levels, np.where(free | expired, 0.0, used_percent))
    taking = np.where(expired & flows, int(definition.expired), 0)
    up = np.maximum(np.maximum(rows.up, already), taking).astype(np.int8)
    unseen = partial & (up == 0) & ~free & ~expired
    reason = rows.reason.copy()
    reason[taking > 0] = "licence_expired"
    reason[unseen] = "coverage"
    return Trace(
        time=times,
        up=np.where(unseen, 0, up).astype(np.int8),
        keep=np.maximum(np.maximum(rows.keep, already), taking).astype(np.int8),
        unsure=np.zeros(len(times), dtype=np.int8),
        blind=rows.blind | unseen,
        value=np.where(free | expired, np.nan, percent),
        sigma=rows.sigma,
        reason=reason,
        details={
            "used_percent": used_percent, "used_m3": used, "projected_m3": projected, "quota_m3": quota,
            "days_gone": gone, "days_of_year": length, "expired": expired.astype(np.float64),
        },
    )  # fmt: skip


def evaluate(definition: Quota, context: Context) -> Evaluation:
    """Return what the newest volume says."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
