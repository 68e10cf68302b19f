"""Kind `tamper`: a meter that was interfered with.

It runs backwards, was set to zero with no swap on record, or stands still while the well runs.

An instrument alarm: it needs no confirmation and stays inside. This file finishes with `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerts.rules.finding_trace import FindingRule, evaluate, ladder_for, read, trace
from domain.finding import FindingKind

__all__ = ["evaluate", "ladder_for", "trace", "validate"]

KINDS = (FindingKind.TAMPER, FindingKind.FROZEN)
METHODS = ("tamper*", "totaliser*", "meter*", "quality*")
"""Methods that look for them: only where one of these has looked can their absence be told."""


def validate(definition: Mapping[str, Any], where: str) -> FindingRule:
    """Return the typed definition, or raise `InputError` naming the field."""
    return read(definition, where, kinds=KINDS, methods=METHODS, quantity="count", lasts=timedelta(days=30))
