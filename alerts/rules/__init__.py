"""The kinds of rules, and how a rule is read from data.

`RULES` maps a kind to what it can do: adding a kind is one file and one line. This file finishes with `rule_as_mapping`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alerts.lifecycle import Trace
from alerts.rules import (
    anomaly,
    change_point,
    common_mode,
    completeness,
    differential,
    expression,
    finding,
    layer_closure,
    quota,
    rate,
    reinjection,
    silence,
    tamper,
    threshold,
    trend,
)
from alerts.rules.context import Calm, Context, Definition
from alerts.rules.definition import Ladder, Reader, Scope, moment
from alerts.rules.inputs import Watch
from domain.alert import Evaluation
from domain.alerting import Rule
from domain.errors import InputError
from domain.model import Datastream

__all__ = ["RULES", "Context", "Definition", "Ladder", "RuleKind", "Scope", "definition_of", "parse_rule", "rule_as_mapping"]

HEADER = ("code", "kind", "name_zh", "name_en", "source", "author", "enabled", "effective_from", "reason")


@dataclass(frozen=True, slots=True)
class RuleKind:
    """What a kind of rule can do.

    Attributes
    ----------
    validate
        Definition to typed definition; `InputError` names the field.
    evaluate
        What the rule says now.
    trace
        What it says at each event time; None for kinds that are judged against the clock or against the newest run.
    ladder
        The limits that hold in a context.
    by_clock
        True where time alone can change the verdict (the scope of its alerts is the station).
    instrument
        True for instrument alarms: no confirmation, never outside.
    needs
        What it reads beside observations: `findings` (with the runs that made them) or `licences`.
    watched
        Datastreams that it reads beside the one that it belongs to, its anchor; None = no other.
    anchors
        Codes of the anchors that a change of a watched datastream, at a station, concerns.
    calm
        Between which values of a datastream, derived from a source or not, the rule says nothing; None = it judges more than single values.
    """

    validate: Callable[[Mapping[str, Any], str], Any]
    evaluate: Callable[[Any, Context], Evaluation]
    trace: Callable[[Any, Context], Trace] | None
    ladder: Callable[[Any, Context], Ladder]
    by_clock: bool = False
    instrument: bool = False
    needs: frozenset[str] = frozenset()
    watched: Callable[[Any], Watch] | None = None
    anchors: Callable[[Any, str], tuple[str, ...]] | None = None
    calm: Callable[[Any, Datastream, Datastream | None], Calm | None] | None = None


_FINDINGS, _LICENCES = frozenset({"findings"}), frozenset({"licences"})

RULES: Mapping[str, RuleKind] = {
    "threshold": RuleKind(
        threshold.validate, threshold.evaluate, threshold.trace, threshold.ladder_for, calm=threshold.calm
    ),
    "rate": RuleKind(rate.validate, rate.evaluate, rate.trace, rate.ladder_for, calm=rate.calm),
    "silence": RuleKind(
        silence.validate, silence.evaluate, None, lambda definition, _: definition.ladder, by_clock=True, instrument=True
    ),
    "acceleration": RuleKind(trend.validate_acceleration, trend.evaluate, trend.trace, trend.ladder_for),
    "time_to_limit": RuleKind(trend.validate_time_to_limit, trend.evaluate, None, trend.ladder_for),
    "trend": RuleKind(trend.validate, trend.evaluate, trend.trace, trend.ladder_for),
    "completeness": RuleKind(
        completeness.validate, completeness.evaluate, completeness.trace, completeness.ladder_for, instrument=True
    ),
    "quota": RuleKind(quota.validate, quota.evaluate, quota.trace, quota.ladder_for, instrument=True, needs=_LICENCES),
    "reinjection": RuleKind(
        reinjection.validate, reinjection.evaluate, reinjection.trace, reinjection.ladder_for, instrument=True, needs=_LICENCES,
        watched=reinjection.watched, anchors=reinjection.anchors,
    ),
    "differential": RuleKind(
        differential.validate, differential.evaluate, differential.trace, differential.ladder_for,
        watched=differential.watched, anchors=differential.anchors,
    ),
    "expression": RuleKind(
        expression.validate, expression.evaluate, expression.trace, expression.ladder_for,
        watched=expression.watched, anchors=expression.anchors,
    ),
    "anomaly": RuleKind(anomaly.validate, anomaly.evaluate, anomaly.trace, anomaly.ladder_for, instrument=True, needs=_FINDINGS),
    "finding": RuleKind(finding.validate, finding.evaluate, finding.trace, finding.ladder_for, needs=_FINDINGS),
    "change_point": RuleKind(
        change_point.validate, change_point.evaluate, change_point.trace, change_point.ladder_for, needs=_FINDINGS
    ),
    "tamper": RuleKind(tamper.validate, tamper.evaluate, tamper.trace, tamper.ladder_for, instrument=True, needs=_FINDINGS),
    "common_mode": RuleKind(
        common_mode.validate, common_mode.evaluate, common_mode.trace, common_mode.ladder_for, instrument=True, needs=_FINDINGS
    ),
    "layer_closure": RuleKind(
        layer_closure.validate, layer_closure.evaluate, layer_closure.trace, layer_closure.ladder_for, instrument=True, needs=_FINDINGS
    ),
}  # fmt: skip


def is_traced(rule: Rule) -> bool:
    """Can the rule be replayed over event time (True), or does it look at the clock or the newest run alone?"""
    return RULES[rule.kind].trace is not None and rule.definition.get("quantity") != "time_to_limit"


def parse_rule(content: Mapping[str, Any], *, author: str = "configuration") -> Rule:
    """Read a rule from data (a YAML or JSON mapping).

    Raises
    ------
    InputError
        Naming the rule, the field, what is wrong with it and the remedy.
    """
    code = content.get("code")
    if not isinstance(code, str) or not code.strip():
        raise InputError("code is missing.", where="rule", remedy="give the rule a code")
    header = Reader({name: value for name, value in content.items() if name in HEADER}, code)
    kind = header.text("kind", choices=RULES)
    rule = Rule(
        code=code,
        kind=kind,
        name_zh=header.text("name_zh"),
        name_en=header.text("name_en"),
        definition={name: value for name, value in content.items() if name not in HEADER},
        source=header.text("source"),
        author=header.text("author", default=author),
        effective_from=moment(content.get("effective_from"), "effective_from", code),
        enabled=header.flag("enabled", default=True),
        reason=header.text("reason", default="") if content.get("reason") else "",
    )
    RULES[kind].validate(rule.definition, code)
    return rule


_typed: dict[tuple[str, str, int], tuple[Mapping[str, Any], Any]] = {}
MOST_TYPED = 20_000


def definition_of(rule: Rule) -> Any:
    """Return the typed definition of a stored rule; it is read once for as long as the rule says the same."""
    key = (rule.kind, rule.code, rule.version)
    known = _typed.get(key)
    if known is not None and (known[0] is rule.definition or known[0] == rule.definition):
        return known[1]
    typed = RULES[rule.kind].validate(rule.definition, rule.code)
    if len(_typed) >= MOST_TYPED:
        _typed.clear()
    _typed[key] = (rule.definition, typed)
    return typed


def rule_as_mapping(rule: Rule) -> dict[str, Any]:
    """Return the rule as the mapping that `parse_rule` reads."""
    header: dict[str, Any] = {name: getattr(rule, name) for name in HEADER}
    if rule.effective_from is not None:
        header["effective_from"] = rule.effective_from.isoformat()
    return {**{name: value for name, value in header.items() if value not in (None, "")}, **rule.definition}
