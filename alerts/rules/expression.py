"""Kind `expression`: a formula over several datastreams, whose value (or truth, 1 or 0) is held against limits.

The formula is read by a parser of its own (`alerts/rules/formula.py`) and its units are checked when the rule is read. The rule belongs to
its first input. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, blind_trace, evaluation_of
from alerts.rules.definition import Ladder, Reader, Scope, Stated
from alerts.rules.formula import Formula, parse_formula
from alerts.rules.inputs import HERE, Values, Watch, find_input, judged_rows, merged_times, read_name, values_of, watch_of
from domain.alert import Evaluation
from domain.errors import InputError, UnitError
from domain.observation import FloatArray, TimeArray
from domain.units import parse_unit

_TICK = timedelta(microseconds=1)
MOST_INPUTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression(Stated):
    """Definition: `inputs` are name -> (datastream or {station}:property, unit), `together` how old an input's value may be."""

    inputs: tuple[tuple[str, str, str], ...]
    formula: Formula
    together: timedelta


def validate(definition: Mapping[str, Any], where: str) -> Expression:
    """Return the typed definition, or raise `InputError` naming the field."""
    reader = Reader(definition, where)
    inputs = _inputs(reader, definition.get("inputs"))
    reader.asked.add("inputs")
    text = reader.text("expression")
    try:
        formula = parse_formula(text, {name: unit for name, _, unit in inputs})
    except InputError as error:
        raise reader.wrong("expression", f"cannot be read: {error.what}", error.remedy or "see docs/alerts.md") from error
    stated = reader.stated(unit="1" if formula.root.truth else None)
    stated["scope"] = _scope(reader, stated["scope"], inputs[0][1])
    if parse_unit(stated["unit"]).dimension != formula.root.dimension:
        raise reader.wrong("unit", f"is {stated['unit']!r}.", "state a unit of what the expression gives")
    rule = Expression(**stated, inputs=inputs, formula=formula, together=reader.duration("together", default=timedelta(days=1)))
    reader.finish()
    return rule


def _inputs(reader: Reader, value: Any) -> tuple[tuple[str, str, str], ...]:
    if not isinstance(value, Mapping) or not value or len(value) > MOST_INPUTS:
        raise reader.wrong("inputs", "is no mapping of 1 to 20 inputs.", "write name: {datastream: '{station}:head', unit: m}")
    found = []
    for name, entry in value.items():
        where = f"inputs.{name}"
        if not isinstance(name, str) or not name.isidentifier() or name in {"abs", "min", "max", "mean"}:
            raise reader.wrong(where, "is no name.", "begin with a letter, go on with letters, digits and _")
        if not isinstance(entry, Mapping) or set(entry) != {"datastream", "unit"}:
            raise reader.wrong(where, "is no input.", "write {datastream: '{station}:head', unit: m}")
        try:
            parse_unit(str(entry["unit"]))
        except UnitError as error:
            raise reader.wrong(f"{where}.unit", f"is {entry['unit']!r}.", error.remedy or "write a UCUM code") from error
        found.append((name, read_name(reader, f"{where}.datastream", entry["datastream"]), str(entry["unit"])))
    return tuple(found)


def _scope(reader: Reader, scope: Scope, anchor: str) -> Scope:
    """Narrow the scope to the first input: its whole code, or its property at every station that the scope admits."""
    if scope.property or scope.datastream:
        raise reader.wrong("scope", "names datastreams.", "name them in inputs; a scope narrows stations alone")
    glob = anchor.replace(HERE, "*")
    return Scope(
        property=(anchor.split(":")[1],), datastream=(glob,), kind=scope.kind, zone=scope.zone, aquifer=scope.aquifer,
        region=scope.region, tag=scope.tag, derived=scope.derived,
    )  # fmt: skip


def watched(definition: Expression) -> Watch:
    """Return the inputs but the first."""
    names = [name for _, name, _ in definition.inputs]
    return watch_of(names[1:], names[0])


def anchors(definition: Expression, station: str) -> tuple[str, ...]:
    """Return the first input's datastream, at the station of the one that changed where it stands for every station."""
    return (definition.inputs[0][1].replace(HERE, station),)


def ladder_for(definition: Expression, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


@dataclass(frozen=True, slots=True)
class _At:
    """The inputs at the times looked at, in base units."""

    times: TimeArray
    values: Mapping[str, tuple[Values, float, float]]
    together: timedelta

    def value(self, name: str) -> FloatArray:
        values, factor, offset = self.values[name]
        newest, _ = values.at(self.times, self.together)
        return (newest + offset) * factor

    def window(self, name: str, function: str, span: timedelta) -> FloatArray:
        values, factor, offset = self.values[name]
        last = np.searchsorted(values.time, self.times, side="right")
        first = np.searchsorted(values.time, self.times - np.timedelta64(span // _TICK, "us"), side="right")
        found = np.full(len(self.times), np.nan)
        sums = np.concatenate(([0.0], np.cumsum(values.result)))
        filled = last > first
        if function == "mean":
            found[filled] = (sums[last[filled]] - sums[first[filled]]) / (last[filled] - first[filled])
        else:
            pick = np.min if function == "min" else np.max
            for row in np.flatnonzero(filled):
                found[row] = pick(values.result[first[row] : last[row]])
        return (found + offset) * factor


def trace(definition: Expression, context: Context) -> Trace:
    """Return the value of the formula at each time at which an input has something new, (n,)."""
    if context.samples is None:
        raise TypeError("this rule needs samples")
    lookback = max(definition.together, definition.formula.longest)
    values: dict[str, tuple[Values, float, float]] = {}
    for name, code, stated in definition.inputs:
        datastream = find_input(context, code)
        if datastream is None:
            return blind_trace(context.samples.time, "no_datastream")
        own = parse_unit(datastream.unit)
        if own.dimension != parse_unit(stated).dimension:
            return blind_trace(context.samples.time, "unlike_unit")
        values[name] = (values_of(context, datastream, lookback), float(own.factor), float(own.offset))
    times = merged_times(context, [item for item, _, _ in values.values()])
    at = _At(times, values, definition.together)
    unit = parse_unit(definition.unit)
    value = np.broadcast_to(np.asarray(definition.formula.compute(at), dtype=np.float64), times.shape) / float(
        unit.factor
    ) - float(unit.offset)
    reason = np.where(np.isnan(value), "input_missing", "").astype(object)
    details = {f"input_{name}": item.at(times, definition.together)[0] for name, (item, _, _) in values.items()}
    return judged_rows(times, definition.ladder, value, sigmas=0.0, reason=reason, details=details)


def evaluate(definition: Expression, context: Context) -> Evaluation:
    """Return the value at the newest time."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)
