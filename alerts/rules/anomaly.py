"""Kind `anomaly`: a datastream behaves unlike itself: a spike, a shift of level, a frozen or a drifting instrument.

An anomaly is a finding of analytics; its score is held against the limits. This file finishes with `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerts.rules.finding_trace import FindingRule, evaluate, ladder_for, read, trace
from domain.finding import FindingKind

__all__ = ["evaluate", "ladder_for", "trace", "validate"]

KINDS = (FindingKind.SPIKE, FindingKind.LEVEL_SHIFT, FindingKind.FROZEN, FindingKind.DRIFT)
METHODS = ("anomaly", "screening*", "quality*")
"""Methods that look for them: only where one of these has looked can their absence be told."""


def validate(definition: Mapping[str, Any], where: str) -> FindingRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    return read(definition, where, kinds=KINDS, methods=METHODS, quantity="score", lasts=timedelta(days=7))
