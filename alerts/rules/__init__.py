"""The kinds of rules, and how a rule is read from data.

`RULES` maps a kind to what it can do: adding a kind is one file and one line. This file finishes with `rule_as_mapping`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from alerts.lifecycle import Trace
from alerts.rules import rate, silence, threshold, trend
from alerts.rules.context import Context, Definition
from alerts.rules.definition import Ladder, Reader, Scope, moment
from domain.alert import Evaluation
from domain.alerting import Rule
from domain.errors import InputError

__all__ = ["RULES", "Context", "Definition", "Ladder", "RuleKind", "Scope", "definition_of", "parse_rule", "rule_as_mapping"]

HEADER = ("code", "kind", "name_zh", "name_en", "source", "author", "enabled", "effective_from")


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
    """

    validate: Callable[[Mapping[str, Any], str], Any]
    evaluate: Callable[[Any, Context], Evaluation]
    trace: Callable[[Any, Context], Trace] | None
    ladder: Callable[[Any, Context], Ladder]
    by_clock: bool = False
    instrument: bool = False


RULES: Mapping[str, RuleKind] = {
    "threshold": RuleKind(threshold.validate, threshold.evaluate, threshold.trace, threshold.ladder_for),
    "rate": RuleKind(rate.validate, rate.evaluate, rate.trace, rate.ladder_for),
    "silence": RuleKind(
        silence.validate, silence.evaluate, None, lambda definition, _: definition.ladder, by_clock=True, instrument=True
    ),
    "trend": RuleKind(trend.validate, trend.evaluate, trend.trace, trend.ladder_for),
}


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
    )
    RULES[kind].validate(rule.definition, code)
    return rule


def definition_of(rule: Rule) -> Any:
    """Return the typed definition of a stored rule."""
    return _typed(rule.kind, rule.code, rule.version, _Frozen(rule.definition))


class _Frozen:
    """A mapping that is hashed by what it says, so that typed definitions are kept."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self._text = repr(sorted(content.items()))

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other._text == self._text


@lru_cache(maxsize=4096)
def _typed(kind: str, code: str, version: int, definition: _Frozen) -> Any:
    del version
    return RULES[kind].validate(definition.content, code)


def rule_as_mapping(rule: Rule) -> dict[str, Any]:
    """Return the rule as the mapping that `parse_rule` reads."""
    header: dict[str, Any] = {name: getattr(rule, name) for name in HEADER}
    if rule.effective_from is not None:
        header["effective_from"] = rule.effective_from.isoformat()
    return {**{name: value for name, value in header.items() if value is not None}, **rule.definition}
