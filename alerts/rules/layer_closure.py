"""Kind `layer_closure`: the layers of a group of marks do not add up to its surface.

The absolute difference between the sum of the layers and the surface mark is held against the limits. This file
finishes with `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerts.rules.finding_trace import FindingRule, evaluate, ladder_for, read, trace
from domain.finding import FindingKind

__all__ = ["evaluate", "ladder_for", "trace", "validate"]

KINDS = (FindingKind.CLOSURE,)
METHODS = ("closure*", "layer_closure*", "compaction*", "mechanisms*")
"""Methods that look for them: only where one of these has looked can their absence be told."""


def validate(definition: Mapping[str, Any], where: str) -> FindingRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    return read(definition, where, kinds=KINDS, methods=METHODS, quantity="size", lasts=timedelta(days=90))
