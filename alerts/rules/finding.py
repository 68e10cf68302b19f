"""Kind `finding`: any dated finding of analytics by its name, for what has no kind of its own (inelastic compaction, distortion, a gap).

Which findings and which methods look for them must be said. This file finishes with `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerts.rules.definition import Reader
from alerts.rules.finding_trace import FindingRule, evaluate, ladder_for, read, trace
from domain.finding import FindingKind

__all__ = ["evaluate", "ladder_for", "trace", "validate"]


def validate(definition: Mapping[str, Any], where: str) -> FindingRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    for name in ("findings", "methods"):
        if not definition.get(name):
            raise Reader(definition, where).wrong(name, "is missing.", f"name the {name} that the rule is about")
    return read(definition, where, kinds=tuple(FindingKind), methods=(), quantity="count", lasts=timedelta(days=90))
