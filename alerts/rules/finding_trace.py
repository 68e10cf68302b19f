"""What the kinds that look at findings share: dated findings of analytics as verdicts at event times.

A finding stands from its start to its end, one without an end for `lasts`, one that many datastreams share for `lasts` after its
end. Up to where a run of the named methods has looked, the absence of findings is *ok*; beyond that, and where no such run exists
or it could not tell, nothing is said: no news of a method that never looked is no all-clear. This file finishes with `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Analysed, Context, DatedFinding, blind_trace, climb, evaluation_of, instant_of
from alerts.rules.definition import Ladder, Reader, Stated
from domain.alert import Evaluation
from domain.errors import UnitError
from domain.finding import FindingKind
from domain.units import convert_spread

TOLD = frozenset({"ok", "interim"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRule(Stated):
    """Definition: which findings of which methods, and for how long one without an end stands.

    `quantity` is `size` (absolute, in `unit`), `score` (the method's own measure) or `count` (findings that stand together).
    """

    kinds: tuple[str, ...]
    methods: tuple[str, ...]
    lasts: timedelta
    shared: bool = False


def read(
    definition: Mapping[str, Any],
    where: str,
    *,
    kinds: Sequence[FindingKind],
    methods: tuple[str, ...],
    quantity: str,
    lasts: timedelta,
    shared: bool = False,
) -> FindingRule:
    """Read a definition with the kind's own defaults; `kinds` are those that it may narrow down."""
    reader = Reader(definition, where)
    allowed = tuple(str(kind) for kind in kinds)
    wanted = reader.names("findings", default=allowed)
    for word in wanted:
        if word not in allowed:
            raise reader.wrong("findings", f"names {word!r}.", f"use {', '.join(allowed)}")
    quantities = (quantity, *(word for word in ("size", "score", "count") if word != quantity))
    said = reader.text("quantity", default=quantity, choices=quantities)
    rule = FindingRule(
        **reader.stated(unit=None if said == "size" else "1", quantities=quantities),
        kinds=wanted,
        methods=reader.names("methods", default=methods),
        lasts=reader.duration("lasts", default=lasts),
        shared=shared,
    )
    reader.finish()
    if not rule.ladder.above:
        raise reader.wrong("direction", "is 'below'.", "leave it out: a greater finding is worse")
    if rule.lasts <= timedelta():
        raise reader.wrong("lasts", "is nothing.", "state how long a finding without an end stands, e.g. P30D")
    return rule


def ladder_for(definition: FindingRule, context: Context) -> Ladder:
    """Return the limits of the definition."""
    del context
    return definition.ladder


def trace(definition: FindingRule, context: Context) -> Trace:
    """Return what stands at each time at which something begins or ends, up to where the methods have looked."""
    runs = [run for run in context.analyses if any(fnmatchcase(run.method, glob) for glob in definition.methods)]
    if not runs:
        return blind_trace(_newest(context), "no_run")
    told = [run for run in runs if run.status in TOLD and run.window_end is not None]
    if not told:
        return blind_trace(_ends(runs) if any(run.window_end for run in runs) else _newest(context), "not_analysed")
    begin, end = min(run.window_start or run.window_end for run in told), max(run.window_end for run in told)  # type: ignore[type-var]
    standing = [_Standing.of(item, definition) for item in relevant(definition, context)]
    return _stepped(definition, standing, begin, end)  # type: ignore[arg-type]


def relevant(definition: FindingRule, context: Context) -> list[DatedFinding]:
    """Return the findings that the rule is about here.

    One that many datastreams share (`members` or `datastreams` among its parameters) and that was stored with each of them is carried
    by the first in the order of codes, so that it is one alert.
    """
    mine = [
        item
        for item in context.findings
        if str(item.kind) in definition.kinds and any(fnmatchcase(item.method, glob) for glob in definition.methods)
    ]
    if not definition.shared or context.datastream is None:
        return mine
    code = context.datastream.code
    return [item for item in mine if code not in members_of(item) or code == min(members_of(item))]


def members_of(finding: DatedFinding) -> tuple[str, ...]:
    """Return the codes of the datastreams that share a finding, as its method lists them."""
    members = finding.parameters.get("members") or finding.parameters.get("datastreams") or ()
    return tuple(str(code) for code in members) if isinstance(members, Sequence) and not isinstance(members, str) else ()


def evaluate(definition: FindingRule, context: Context) -> Evaluation:
    """Return what stands at the end of what was looked at."""
    return evaluation_of(trace(definition, context), context, definition.ladder, definition.unit)


@dataclass(frozen=True, slots=True)
class _Standing:
    start: datetime
    end: datetime
    value: float
    sigma: float

    @classmethod
    def of(cls, finding: DatedFinding, definition: FindingRule) -> _Standing:
        last = finding.end if finding.end is not None and finding.end > finding.start else None
        # What many marks share is a step: its span is the campaign that brought it out, and it is news when the campaign is over.
        end = (last or finding.start) + definition.lasts if definition.shared or last is None else last
        value, sigma = _amount(finding, definition)
        return cls(finding.start, end, value, sigma)


def _amount(finding: DatedFinding, definition: FindingRule) -> tuple[float, float]:
    """Return how much is found in the rule's unit; NaN where the method does not say, or in an unlike unit."""
    if definition.quantity == "count":
        return 1.0, np.nan
    if definition.quantity == "score":
        return (np.nan if finding.score is None else abs(finding.score)), np.nan
    try:
        unit = finding.unit or definition.unit
        value = np.nan if finding.size is None else abs(float(convert_spread(finding.size, unit, definition.unit)))
        sigma = np.nan if finding.sigma is None else float(convert_spread(finding.sigma, unit, definition.unit))
    except UnitError:
        return np.nan, np.nan
    return value, sigma


def _stepped(definition: FindingRule, standing: Sequence[_Standing], begin: datetime, end: datetime) -> Trace:
    edges = {begin, end} | {item.start for item in standing} | {item.end for item in standing}
    times = sorted(moment for moment in edges if begin <= moment <= end)
    value, sigma = np.zeros(len(times)), np.full(len(times), np.nan)
    unsized = np.zeros(len(times), dtype=np.bool_)
    for row, moment in enumerate(times):
        here = [item for item in standing if item.start <= moment < item.end]
        sized = [item for item in here if np.isfinite(item.value)]
        unsized[row] = len(sized) < len(here)
        if definition.quantity == "count":
            value[row] = len(here)
        elif sized:
            worst = max(sized, key=lambda item: item.value)
            value[row], sigma[row] = worst.value, worst.sigma
    known = np.isfinite(sigma) if definition.sigmas > 0 else np.ones(len(times), dtype=np.bool_)
    slack = definition.sigmas * np.where(np.isfinite(sigma), sigma, 0.0)
    up, estimate = climb(definition.ladder, value, slack), climb(definition.ladder, value)
    blind = unsized & (estimate == 0)  # a finding of unknown size may be any size: it is not ok
    reason = np.full(len(times), "", dtype=object)
    reason[(estimate > 0) & (up == 0)] = "not_significant"
    reason[(estimate > 0) & ~known] = "no_sigma"
    reason[blind] = "size_unknown"
    return Trace(
        time=np.array([instant_of(moment) for moment in times], dtype="datetime64[us]"),
        up=np.where(known & ~blind, up, 0).astype(np.int8),
        keep=climb(definition.ladder, value, -definition.ladder.deadband) * (value > 0).astype(np.int8),
        unsure=np.where(~known & ~blind, estimate, 0).astype(np.int8),
        blind=blind,
        value=np.where(blind, np.nan, value),
        sigma=sigma,
        reason=reason,
    )


def _newest(context: Context) -> Any:
    return np.array([], dtype="datetime64[us]") if context.samples is None else context.samples.time[-1:]


def _ends(runs: Sequence[Analysed]) -> Any:
    ends = [run.window_end for run in runs if run.window_end is not None]
    return np.array([instant_of(max(ends))], dtype="datetime64[us]")
