"""Kind `differential`: neighbours along a line that sink unequally, as angular distortion between them or as a plain difference.

The limits of structures are differential (TB 10621: angular distortion 1/1000, that is 1 mm/m). The rule belongs to the first datastream
of the line. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, blind_trace, evaluation_of, subsidence_factor
from alerts.rules.definition import Ladder, Reader, Scope, Stated
from alerts.rules.inputs import HERE, Values, Watch, find_input, judged_rows, merged_times, read_name, values_of, watch_of
from domain.alert import Evaluation
from domain.errors import UnitError
from domain.model import Datastream
from domain.observation import FloatArray
from domain.units import compatible, convert


@dataclass(frozen=True, slots=True, kw_only=True)
class Differential(Stated):
    """Definition: `line` are datastreams of displacement with their chainage in m, `together` how far apart their epochs may be."""

    line: tuple[tuple[str, float], ...]
    together: timedelta


def validate(definition: Mapping[str, Any], where: str) -> Differential:
    """Return the typed definition, or raise `InputError` naming the field."""
    if "scope" in definition:
        raise Reader(definition, where).wrong("scope", "is not known.", "leave it out: the line names its datastreams")
    reader = Reader(definition, where)
    line = _line(reader, definition.get("line"))
    reader.asked |= {"line", "scope"}
    stated = reader.stated(quantities=("distortion", "difference"))
    stated["scope"] = Scope(datastream=(line[0][0],))
    rule = Differential(**stated, line=line, together=reader.duration("together", default=timedelta(days=30)))
    reader.finish()
    target = "mm/m" if rule.quantity == "distortion" else "mm"
    if not compatible(rule.unit, target):
        raise reader.wrong("unit", f"is {rule.unit!r}.", f"a {rule.quantity} is in {target}")
    return rule


def _line(reader: Reader, value: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise reader.wrong("line", "is no list of two or more.", "write a list of {datastream, chainage_m}")
    found = []
    for number, entry in enumerate(value):
        name = f"line[{number}]"
        if not isinstance(entry, Mapping) or set(entry) != {"datastream", "chainage_m"}:
            raise reader.wrong(name, "is no mark of a line.", "write {datastream: STATION:property, chainage_m: 0}")
        code = read_name(reader, f"{name}.datastream", entry["datastream"])
        if HERE in code:
            raise reader.wrong(f"{name}.datastream", f"is {code!r}.", "name the station: a line goes over several")
        found.append((code, reader.checked_number(f"{name}.chainage_m", entry["chainage_m"])))
    for (_, before), (code, after) in pairwise(found):
        if after <= before:
            raise reader.wrong("line", f"does not go on at {code}.", "list the marks by growing chainage")
    return tuple(found)


def watched(definition: Differential) -> Watch:
    """Return the datastreams of the line but the first."""
    return watch_of([code for code, _ in definition.line], definition.line[0][0])


def anchors(definition: Differential, station: str) -> tuple[str, ...]:
    """Return the first datastream of the line."""
    del station
    return (definition.line[0][0],)


def ladder_for(definition: Differential, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: Differential, context: Context) -> Trace:
    """Return the worst pair of neighbours at each epoch of any of them, (n,); `details` hold the chainages of that pair.

    A pair of which one was not observed within `together` is unknown: it hides no breach of another, and makes *ok* unsayable.
    """
    if context.samples is None:
        raise TypeError("this rule needs samples")
    marks = [find_input(context, code) for code, _ in definition.line]
    if any(mark is None for mark in marks):
        return blind_trace(context.samples.time, "no_datastream")
    known = [mark for mark in marks if mark is not None]
    scales = [_scale(mark) for mark in known]
    wrong = next((scale for scale in scales if isinstance(scale, str)), None)
    if wrong is not None:
        return blind_trace(context.samples.time, wrong)
    inputs = [values_of(context, mark, definition.together) for mark in known]
    times = merged_times(context, inputs)
    return _worst_pair(definition, times, inputs, [float(scale) for scale in scales])


def _scale(mark: Datastream) -> float | str:
    """Return what a value is multiplied by to be mm of subsidence."""
    if mark.property_code == "height":
        return "no_displacement"
    factor = subsidence_factor(mark, None)
    if isinstance(factor, str):
        return factor
    try:
        return factor * float(convert(1.0, mark.unit, "mm"))
    except UnitError:
        return "unlike_unit"


def _worst_pair(definition: Differential, times: Any, inputs: Sequence[Values], scales: Sequence[float]) -> Trace:
    columns = [item.at(times, definition.together) for item in inputs]
    value: list[FloatArray] = []
    spread: list[FloatArray] = []
    for number, ((_, before), (_, after)) in enumerate(pairwise(definition.line)):
        (here, here_sigma), (there, there_sigma) = columns[number], columns[number + 1]
        length = after - before if definition.quantity == "distortion" else 1.0
        unit = "mm/m" if definition.quantity == "distortion" else "mm"
        factor = float(convert(1.0, unit, definition.unit)) / length
        value.append(np.abs(there * scales[number + 1] - here * scales[number]) * factor)
        spread.append(np.hypot(there_sigma * scales[number + 1], here_sigma * scales[number]) * factor)
    pairs, sigmas = np.array(value), np.array(spread)
    worst = np.argmax(np.where(np.isfinite(pairs), pairs, -1.0), axis=0)
    rows = np.arange(len(times))
    missing = np.isnan(pairs).any(axis=0)
    judged = judged_rows(
        times, definition.ladder, pairs[worst, rows], sigma=sigmas[worst, rows], sigmas=definition.sigmas,
        reason=np.where(missing, "input_missing", "").astype(object),
        details={
            "from_m": np.array([definition.line[index][1] for index in worst], dtype=np.float64),
            "to_m": np.array([definition.line[index + 1][1] for index in worst], dtype=np.float64),
        },
    )  # fmt: skip
    unseen = missing & (judged.up == 0)
    reason = np.where(missing & (judged.up > 0), "", judged.reason).astype(object)
    return Trace(judged.time, judged.up, judged.keep, judged.unsure, judged.blind | unseen, judged.value, judged.sigma, reason,
                 judged.details)  # fmt: skip


def evaluate(definition: Differential, context: Context) -> Evaluation:
    """Return the worst pair at the newest epoch."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
