"""Kind `reinjection`: what is put back against what was taken, where the licence says that it must be.

The duty is a licence's own: a holder without one is never flagged. A silent injection meter is unknown, never zero, and a ratio that
cannot be is a data error; both cannot be told. An instrument alarm: it stays inside. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, blind_trace, evaluation_of
from alerts.rules.definition import Ladder, Reader, Stated
from alerts.rules.inputs import Totals, Watch, find_input, judged_rows, merged_times, moments, read_name, values_of, watch_of
from domain.alert import Evaluation
from domain.errors import UnitError
from domain.units import convert

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinjection(Stated):
    """Definition: levels are percent of the licence's duty, less is worse.

    `injection` names the datastream of reinjected volumes; `window` is the time over which both are summed, `least_coverage` which part
    of it both meters must have seen, `data_error_above` the ratio that cannot be true.
    """

    injection: str
    window: timedelta
    least_coverage: float
    data_error_above: float


def validate(definition: Mapping[str, Any], where: str) -> Reinjection:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader({"direction": "below", **definition}, where)
    rule = Reinjection(
        **reader.stated(unit="%"),
        injection=read_name(reader, "injection", reader.text("injection", default="{station}:injection_volume")),
        window=reader.duration("window", default=timedelta(days=30)),
        least_coverage=reader.number("least_coverage", default=0.9, least=0.0),
        data_error_above=reader.number("data_error_above", default=1.1, least=1.0),
    )
    reader.finish()
    if rule.ladder.above:
        raise reader.wrong("direction", "is 'above'.", "leave it out: less is worse")
    if not rule.scope.property and not rule.scope.datastream:
        raise reader.wrong("scope.property", "is missing.", "name the volumes taken, e.g. property: abstraction_volume")
    return rule


def watched(definition: Reinjection) -> Watch:
    """Return what the rule looks at beside the volumes taken."""
    return watch_of([definition.injection])


def anchors(definition: Reinjection, station: str) -> tuple[str, ...]:
    """Return the datastreams whose verdict a change of the injection at a station may move."""
    return tuple(f"{station}:{name}" for name in definition.scope.property) or definition.scope.datastream


def ladder_for(definition: Reinjection, context: Context) -> Ladder:
    """Return the limits as percent of what was taken: the definition's percentages of the duty at the newest observation."""
    samples = context.samples
    newest = moments(samples.time[-1:]) if samples is not None else []
    return _ladder_of(definition, _duties(context, newest or [context.now])[-1])


def _ladder_of(definition: Reinjection, duty: float | None) -> Ladder:
    if duty is None:
        return definition.ladder.scaled({})
    return definition.ladder.scaled({level: share * duty for level, share in definition.ladder.levels.items()})


def _duties(context: Context, at: Sequence[datetime]) -> list[float | None]:
    """Return the duty of the licence in force just before each time; None = there is none."""
    found = []
    for moment in at:
        day = (moment - _TICK).astimezone(context.zone).date()
        stated = [item.reinjection_ratio for item in context.licences if item.is_in_force(day)]
        found.append(next((ratio for ratio in reversed(stated) if ratio is not None), None))
    return found


def trace(definition: Reinjection, context: Context) -> Trace:
    """Return the ratio over the window that ends with each extent, percent of what was taken, (n,)."""
    if context.samples is None or context.datastream is None:
        raise TypeError("this rule needs a datastream and its samples")
    if not context.licences:
        return blind_trace(context.samples.time, "no_licence")
    other = find_input(context, definition.injection)
    taken = values_of(context, context.datastream, definition.window)
    if all(licence.reinjection_ratio is None for licence in context.licences):
        times = merged_times(context, [taken], ends=True)
        return judged_rows(times, _ladder_of(definition, None), np.full(len(times), 100.0))
    if other is None:
        return blind_trace(context.samples.time, "no_injection_meter")
    put_back = values_of(context, other, definition.window)
    times = merged_times(context, [taken, put_back], ends=True)
    begin = times - np.timedelta64(definition.window // _TICK, "us")
    try:
        scale = float(convert(1.0, other.unit, context.datastream.unit))
    except UnitError:
        return blind_trace(times, "unlike_unit")
    out, out_covered = Totals.of(taken).between(begin, times)
    back, back_covered = Totals.of(put_back).between(begin, times)
    need = definition.least_coverage * definition.window.total_seconds()
    duties = _duties(context, moments(times))
    bound = np.array([duty is not None for duty in duties], dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(out > 0, 100.0 * back * scale / out, 100.0)
    reason = np.full(len(times), "", dtype=object)
    reason[ratio > 100.0 * definition.data_error_above] = "data_error"
    reason[back_covered < need] = "silent_meter"
    reason[out_covered < need] = "coverage"
    reason[~bound] = ""
    value = np.where(bound, ratio, 100.0 * definition.data_error_above)
    by_duty = {
        duty: judged_rows(
            times, _ladder_of(definition, duty), value, blind=reason != "", reason=reason,
            details={"taken_m3": out, "put_back_m3": back * scale},
        )
        for duty in dict.fromkeys([*duties, None])
    }  # fmt: skip
    return _chosen(by_duty, duties)


def _chosen(by_duty: Mapping[float | None, Trace], duties: Sequence[float | None]) -> Trace:
    """Return at each time what was judged by the duty of that time."""
    chosen = by_duty[None]
    for duty, rows in by_duty.items():
        here = np.array([item == duty for item in duties], dtype=np.bool_)
        columns = {
            name: np.where(here, getattr(rows, name), getattr(chosen, name)) for name in ("up", "keep", "unsure", "reason")
        }
        chosen = replace(chosen, **columns)
    return chosen


def evaluate(definition: Reinjection, context: Context) -> Evaluation:
    """Return the ratio over the newest window."""
    return evaluation_of(trace(definition, context), context, ladder_for(definition, context), definition.unit)
