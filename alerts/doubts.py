"""What makes a verdict doubtful whatever the rule: an observation that is too old to speak of now, an instrument nobody confirmed.

This file finishes with `unconfirmed_trace`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alerts.lifecycle import Trace
from alerts.rules.context import Context, moment_of
from domain.model import Datastream

LEAST_PATIENCE = timedelta(days=30)
SURVEY_PATIENCE = timedelta(days=457)
"""Fifteen months: a yearly survey that comes three months late."""
INTERVALS = 1.25


def patience(definition: Any, datastream: Datastream, source: Datastream | None) -> timedelta:
    """Return how old the newest usable observation may be for the rule to say anything of the present.

    The rule's own `fresh_for`, else by cadence: 1.25 times the declared interval and at least 30 days (a yearly survey: fifteen months);
    fifteen months where no interval is declared. A derived datastream has the cadence of its source.
    """
    stated: timedelta | None = getattr(definition, "fresh_for", None)
    if stated is not None:
        return stated
    interval_s = (source or datastream).interval_s
    return max(LEAST_PATIENCE, INTERVALS * timedelta(seconds=interval_s)) if interval_s else SURVEY_PATIENCE


def newest_told(trace: Trace) -> datetime | None:
    """Return the time of the newest sample that tells anything, or None."""
    rows = np.flatnonzero(~trace.blind)
    return moment_of(trace.time[rows[-1]]) if len(rows) else None


def is_confirmed(context: Context) -> bool:
    """Did a person confirm station, datastream and source (what an import makes by itself is unconfirmed)?"""
    return all(item is None or item.confirmed for item in (context.station, context.datastream, context.source))


def unconfirmed_trace(trace: Trace) -> Trace:
    """Return the trace of an instrument that nobody confirmed: what it breaches waits for a person, and has no colour by itself."""
    unsure = np.maximum(trace.up, trace.unsure).astype(np.int8)
    reason = trace.reason.copy()
    reason[unsure > 0] = "unconfirmed"
    return replace(trace, up=np.zeros(len(trace), dtype=np.int8), unsure=unsure, reason=reason)
