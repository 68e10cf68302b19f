"""The method `time_to_limit`: when a datastream will pass each of its limits, or why that cannot be said.

This file holds that method on top of the forecast of the trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from analytics.forecast import LimitTime, time_to_limit
from analytics.method import aware, make_run, plain, time_of, year_of
from analytics.sampling import Samples, span_years, typical_interval_d
from analytics.velocity import Prepared, VelocityParameters, describe, prepare
from domain.finding import LimitStatus, Outcome, Scalar
from domain.model import StationEvent
from domain.quality import Quality

NAME, VERSION = "time_to_limit", "1"


@dataclass(frozen=True)
class LimitLine:
    """A figure in the datastream's unit; `rising` says whether it is passed from below."""

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

    velocity: VelocityParameters = VelocityParameters()
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
    record = make_run(
        (NAME, VERSION), samples, events, parameters, "cannot_tell" if unknown else "ok", {"limits": stored}
    )
    if not len(ready.samples):
        return Outcome(record)
    end = aware(ready.samples.time[-1])
    return Outcome(record, tuple(_scalar(code, answer, end, now) for code, answer in answers.items()))


def _answer(
    line: LimitLine, result: dict[str, Any], parameters: LimitParameters, ready: Prepared, now: datetime
) -> LimitTime:
    if not len(ready.samples):
        return LimitTime("cannot_tell", level=parameters.level)
    newest = ready.samples.value[-_newest_count(ready.samples) :]
    answer = time_to_limit(result, line.value, float(np.median(newest)), line.rising, parameters.level)
    age_a = year_of(now) - float(ready.years[-1])
    tolerated = max(60.0 / 365.25, parameters.stale_share * ready.span_a, 0.5 if ready.sparse else 0.0)
    if answer.status != "reached" and age_a > tolerated:
        return LimitTime("cannot_tell", level=parameters.level)
    return answer


def _newest_count(samples: Samples) -> int:
    """Samples of about the last fortnight, at least one."""
    interval = typical_interval_d(samples.time)
    if not np.isfinite(interval) or span_years(samples.time) == 0.0:
        return 1
    return int(np.clip(round(14.0 / max(interval, 1e-9)), 1, 15))


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


def _scalar(code: str, answer: LimitTime, end: datetime, now: datetime) -> Scalar:
    name = f"time_to_limit_{code}"
    if answer.status == "reached":
        return Scalar(name, "a", end, 0.0, None, Quality.GOOD, ("reached",))
    if answer.year is None:
        return Scalar(name, "a", end, None, None, Quality.MISSING, (answer.status,))
    return Scalar(name, "a", end, answer.year - year_of(now), None, Quality.GOOD, (answer.status,))
