"""Reads rules.yaml: the shipped default set, what this city adds or redefines, and what it switches off.

```
defaults: true              # take over alerts/default_rules.yaml
disabled: [some-code]       # switch single defaults off
rules: [...]                # entries as in alerts/default_rules.yaml; the same code replaces a default
```

This file finishes with `parse_rules`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alerts.defaults import default_rules
from alerts.rules import parse_rule
from domain.alerting import Rule
from domain.errors import GroundWatchError
from service.configuration.reading import Entry, Problems
from service.configuration.sections import entries_of, refuse_unknown_tops

FILE = "rules.yaml"
AUTHOR = "configuration"


def parse_rules(content: dict[str, Any], problems: Problems) -> list[Rule]:
    """Return the rules of a city, each checked by its own kind; no rules.yaml means the shipped default set."""
    refuse_unknown_tops(FILE, content, ("defaults", "disabled", "rules"), problems)
    top = Entry(FILE, "", content, problems)
    by_code: dict[str, Rule] = {rule.code: rule for rule in default_rules()} if top.flag("defaults", default=True) else {}
    seen: set[str] = set()
    for entry in entries_of(FILE, content, "rules", problems):
        rule = _rule(entry)
        if rule is None:
            continue
        if rule.code in seen:
            entry.problem("code", f"{rule.code!r} is given twice.", "give each rule a code of its own")
        seen.add(rule.code)
        by_code[rule.code] = rule
    for code in top.words("disabled"):
        if code not in by_code:
            top.problem("disabled", f"{code!r} is no rule of this city.", "known: " + ", ".join(sorted(by_code)))
            continue
        by_code[code] = replace(by_code[code], enabled=False)
    return list(by_code.values())


def _rule(entry: Entry) -> Rule | None:
    try:
        return parse_rule(entry.data, author=AUTHOR)
    except GroundWatchError as error:
        entry.problem(error.where or "", error.what, error.remedy or "compare with alerts/default_rules.yaml")
        return None
