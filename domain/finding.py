"""What an analytic hands on: derived scalars, findings and a run.

An analytic turns datastreams into derived datastreams, dated findings and one run, so that a new analytic is plotted, exported,
shared and alerted on with no line changed elsewhere. This file finishes with `Outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.quality import Quality


class FindingKind(StrEnum):
    """A dated event that an analytic found."""

    STEP = "step"
    SPIKE = "spike"
    LEVEL_SHIFT = "level_shift"
    FROZEN = "frozen"
    DRIFT = "drift"
    VARIANCE = "variance"
    GAP = "gap"
    RATE_CHANGE = "rate_change"
    CLOSURE = "closure"
    TAMPER = "tamper"
    COMMON_MODE = "common_mode"
    DISAGREEMENT = "disagreement"
    INELASTIC = "inelastic"
    DISTORTION = "distortion"
    PROXIMITY = "proximity"


class LimitStatus(StrEnum):
    """Whether and when a limit will be reached."""

    REACHED = "reached"
    WITHIN = "within"
    BEYOND_HORIZON = "beyond_horizon"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of a derived datastream: `{source property}_{name}` in `unit`, at the window's end. None = cannot tell."""

    name: str
    unit: str
    time: datetime
    value: float | None
    sigma: float | None = None
    quality: Quality = Quality.GOOD
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A dated event with its size, in the datastream's unit, and how sure the method is of it."""

    kind: FindingKind
    start: datetime
    end: datetime | None = None
    size: float | None = None
    sigma: float | None = None
    score: float | None = None
    unit: str | None = None
    source: str = "detected"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One computation: enough to do it again and get the same digits. `inputs` holds what it saw beside observations: now and events."""

    method: str
    version: str
    parameters: Mapping[str, Any]
    window_start: datetime | None
    window_end: datetime | None
    input_digest: str
    status: str
    result: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one method says about one datastream."""

    run: Run
    scalars: tuple[Scalar, ...] = ()
    findings: tuple[Finding, ...] = ()
