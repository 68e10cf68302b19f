"""The method `time_to_limit`: when a datastream will pass each of its limits, or why that cannot be said.

This file holds that method on top of the forecast of the trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from analytics.forecast import LimitTime, time_to_limit
from analytics.method import make_run, plain, time_of, year_of
from analytics.preparation import Prepared, VelocityParameters, prepare
from analytics.sampling import Samples
from analytics.velocity import describe, newest_count
from domain.finding import LimitStatus, Outcome
from domain.model import StationEvent

NAME, VERSION = "time_to_limit", "3"


@dataclass(frozen=True)
class LimitLine:
    """A figure in the datastream's own unit; `rising` says whether it is passed from below."""

    code: str
    value: float
    rising: bool


@dataclass(frozen=True)
class LimitParameters:
    """The one default setting.

    Attributes
    ----------
    limits : tuple of LimitLine
    level : float
        Probability of the interval.
    stale_share : float
        The newest sample may be so much of the record's length old, and at least 60 days.
    """

    velocity: VelocityParameters = field(default_factory=VelocityParameters)
    limits: tuple[LimitLine, ...] = ()
    level: float = 0.8
    stale_share: float = 0.1


def run(samples: Samples, events: Sequence[StationEvent], parameters: LimitParameters, now: datetime) -> Outcome:
    """Say for each limit whether and when it will be reached."""
    return outcome(samples, events, parameters, prepare(samples, events, parameters.velocity, now), now)


def outcome(
    samples: Samples,
    events: Sequence[StationEvent],
    parameters: LimitParameters,
    ready: Prepared,
    now: datetime,
) -> Outcome:
    """Judge every limit with one prepared fit."""
    result = plain(describe(ready, parameters.velocity))
    answers = {line.code: _answer(line, result, parameters, ready, now) for line in parameters.limits}
    stored = {code: _as_json(answer, now) for code, answer in answers.items()}
    unknown = all(answer.status == LimitStatus.CANNOT_TELL for answer in answers.values())
    status = "cannot_tell" if unknown else "ok"
    return Outcome(make_run((NAME, VERSION), samples, events, parameters, status, {"limits": stored}))


def _answer(line: LimitLine, result: dict[str, Any], parameters: LimitParameters, ready: Prepared, now: datetime) -> LimitTime:
    if not len(ready.samples):
        return LimitTime("cannot_tell", level=parameters.level)
    newest = ready.samples.value[-newest_count(ready.samples) :] / parameters.velocity.scale
    answer = time_to_limit(result, line.value, float(np.median(newest)), line.rising, parameters.level)
    age_a = year_of(now) - float(ready.years[-1])
    tolerated = max(60.0 / 365.25, parameters.stale_share * ready.span_a, 0.5 if ready.sparse else 0.0)
    if answer.status != "reached" and age_a > tolerated:
        return LimitTime("cannot_tell", level=parameters.level)
    return answer


def _as_json(answer: LimitTime, now: datetime) -> dict[str, Any]:
    def when(year: float | None) -> datetime | None:
        return None if year is None else time_of(year)

    return {
        "status": answer.status,
        "time": when(answer.year),
        "earliest": when(answer.earliest),
        "latest": when(answer.latest),
        "level": answer.level,
        "years_ahead": None if answer.year is None else answer.year - year_of(now),
    }
