"""What was planted in the demonstration network: returned by the builder for tests, stored nowhere, read by no analytic.

This file finishes with `Truths`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VelocityTruth:
    """Least-squares rate of the noise-free motion over the record, in `unit` (mm/a, or m/a for levels)."""

    datastream: str
    rate: float
    unit: str


@dataclass(frozen=True, slots=True)
class StepTruth:
    """A step of `size` in the datastream's unit; a logged one also stands in the station's event log."""

    datastream: str
    time: datetime
    size: float
    unit: str
    logged: bool


@dataclass(frozen=True, slots=True)
class SpikeTruth:
    """One wrong value, `size` away from the true one, in the datastream's unit."""

    datastream: str
    time: datetime
    size: float


@dataclass(frozen=True, slots=True)
class GapTruth:
    """No observation with start <= time < end."""

    datastream: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SilentTruth:
    """A meter that has sent nothing since this time, although the rest of its station goes on."""

    datastream: str
    since: datetime


@dataclass(slots=True)
class Truths:
    """All that was planted, by kind."""

    velocities: list[VelocityTruth] = field(default_factory=list)
    steps: list[StepTruth] = field(default_factory=list)
    spikes: list[SpikeTruth] = field(default_factory=list)
    gaps: list[GapTruth] = field(default_factory=list)
    silent: list[SilentTruth] = field(default_factory=list)
