"""Kind `common_mode`: many marks move by the same amount at one epoch: the datum moved, not the ground.

One finding that many datastreams share is one alert, carried by the first of them; it names the members, whose own alerts it inhibits. This file
finishes with `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerts.rules.finding_trace import FindingRule, evaluate, ladder_for, read, trace
from domain.finding import FindingKind

__all__ = ["evaluate", "ladder_for", "trace", "validate"]

KINDS = (FindingKind.COMMON_MODE,)
METHODS = ("common_mode*", "mechanisms*")
"""Methods that look for them: only where one of these has looked can their absence be told."""


def validate(definition: Mapping[str, Any], where: str) -> FindingRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    return read(definition, where, kinds=KINDS, methods=METHODS, quantity="size", lasts=timedelta(days=90), shared=True)
