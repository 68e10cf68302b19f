"""The default rules, shipped as data. This file finishes with `rules_from_yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from alerts.rules import parse_rule
from domain.alerting import Rule
from domain.errors import InputError


@cache
def default_rules() -> tuple[Rule, ...]:
    """Return the shipped rules (domain brief 1.4)."""
    return rules_from_yaml(files("alerts").joinpath("default_rules.yaml").read_text(encoding="utf-8"), author="default")


def rules_from_yaml(text: str, *, author: str) -> tuple[Rule, ...]:
    """Read `rules:` of a YAML (or JSON) document.

    Raises
    ------
    InputError
        Naming the rule and the field.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the rules are no YAML: {error}", remedy="correct the indentation or the quotes") from error
    entries = content.get("rules") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError("rules is missing or is no list.", remedy="begin the document with `rules:` and a list of rules")
    rules = tuple(parse_rule(entry, author=author) for entry in entries)
    codes = [rule.code for rule in rules]
    for code in codes:
        if codes.count(code) > 1:
            raise InputError(f"code {code!r} is given twice.", where="rules", remedy="give each rule a code of its own")
    return rules
