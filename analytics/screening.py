"""The method `anomaly`: spikes, level shifts, frozen values and missing patterns of a stored datastream.

Stretches faster than daily pass the causal detector as they are; daily and slower ones are compared with their own
seasonal trajectory first and then with their neighbours (Hampel). A counter is judged by its increments. What the
velocity run tells as a step, or the event log holds, is not told again. This file holds that method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from analytics.anomaly import Anomaly, AnomalySettings, detect_in_values, find_frozen, find_gaps_in, hampel
from analytics.habits import HabitSettings, Hurdle
from analytics.method import aware, make_run, numpy_time, until, without_excluded
from analytics.preparation import Prepared, VelocityParameters, prepare, scaled
from analytics.sampling import Floats, Samples, Times, from_decimal_years, regimes, typical_interval_d
from domain.finding import Finding, FindingKind, Outcome
from domain.model import StationEvent, ValueKind

NAME, VERSION = "anomaly", "5"
CALM = HabitSettings(
    Hurdle(10.0, 1.8), Hurdle(12.0, 2.0), Hurdle(8.0, 0.0, 4.0, 20.0), record_share=0.3, least_blocks=21, clearance=0.5
)
"""For what is stored and shown to supervisors: calmer than `detect`, which an analyst asks for one file. A hundred datastreams that each
told one untrue shift a season would teach people to look away."""
TOLD_WITHIN = np.timedelta64(3, "D")
"""A step is dated so well: what is found so near to it is the step itself."""
TOLD_SIZE = 2.0
"""A departure larger than the step by this factor is an event of its own (a step smeared by the tidal filter is sized low)."""


@dataclass(frozen=True)
class AnomalyParameters:
    """The one default setting.

    Attributes
    ----------
    hampel_half_window : int
        Samples on each side of a daily residual.
    hampel_limit : float
        Robust standard deviations.
    daily_from_d : float
        Typical interval from which a series is compared with its seasonal trajectory.
    """

    velocity: VelocityParameters = field(default_factory=VelocityParameters)
    detector: AnomalySettings = field(default_factory=lambda: AnomalySettings(habits=CALM))
    hampel_half_window: int = 7
    hampel_limit: float = 7.0
    daily_from_d: float = 0.75


def run(samples: Samples, events: Sequence[StationEvent], parameters: AnomalyParameters, now: datetime) -> Outcome:
    """Find anomalies in one datastream."""
    return outcome(samples, events, parameters, prepare(samples, events, parameters.velocity, now), now)


def outcome(
    samples: Samples,
    events: Sequence[StationEvent],
    parameters: AnomalyParameters,
    ready: Prepared,
    now: datetime,
) -> Outcome:
    """Detect and write down; `ready` is the shared fit, used for daily stretches and to know which steps are told already."""
    usable = scaled(without_excluded(until(samples, now), events).usable(), parameters.velocity.scale)
    found: list[Finding] = []
    status = "ok"
    if len(usable) < 20:
        status = "cannot_tell"
    else:
        fast = [part for part in regimes(usable.time) if typical_interval_d(usable.time[part]) < parameters.daily_from_d]
        for part in fast:
            found += _in_raw(usable, part, parameters)
        if ready.fit is not None and not ready.sparse:
            found += _in_residuals(ready, [(usable.time[part.start], usable.time[part.stop - 1]) for part in fast], parameters)
        if not ready.sparse:
            found += _gaps(usable, parameters)
        found = _without_told(sorted(found, key=lambda finding: finding.start), ready)
    kinds = [finding.kind.value for finding in found]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    result = {"n": len(usable), "counts": counts}
    record = make_run((NAME, VERSION), samples, events, parameters, status, result)
    return Outcome(record, (), tuple(found))


def _seconds(time: Times) -> Floats:
    return np.asarray((time - time[0]).astype(np.float64) * 1e-6)


def _gaps(usable: Samples, parameters: AnomalyParameters) -> list[Finding]:
    """Silences of the whole record, measured in the intervals around them or the declared one."""
    found = find_gaps_in(_seconds(usable.time), parameters.detector, parameters.velocity.interval_s or 0.0)
    return [
        Finding(FindingKind.GAP, aware(usable.time[gap.start_index - 1]), aware(usable.time[gap.start_index]), score=gap.score)
        for gap in found
    ]


def _in_raw(usable: Samples, part: slice, parameters: AnomalyParameters) -> list[Finding]:
    """The causal detector on a stretch that is faster than daily."""
    times, values = usable.time[part], usable.value[part]
    seconds = _seconds(times)
    if parameters.velocity.value_kind == ValueKind.TOTALISER and values.size > 1:
        values = _increments(seconds, values)
        times, seconds = times[1:], seconds[1:]
    return [_finding(times, anomaly, parameters) for anomaly in detect_in_values(seconds, values, True, parameters.detector)]


def _increments(seconds: Floats, counter: Floats) -> Floats:
    """What a counter gained an interval, at the typical interval: its level alone is always new."""
    steps = np.diff(seconds)
    return np.asarray(np.diff(counter) * float(np.median(steps)) / steps)


def _in_residuals(
    ready: Prepared, judged: Sequence[tuple[np.datetime64, np.datetime64]], parameters: AnomalyParameters
) -> list[Finding]:
    """Hampel on the departures from the seasonal trajectory, frozen runs on the values; `judged` spans are left to the raw detector."""
    assert ready.fit is not None
    times, values = ready.samples.time, ready.samples.value
    if parameters.velocity.value_kind == ValueKind.TOTALISER:
        values = _increments(_seconds(times), values)
        times, residual = times[1:], values - np.median(values)
    else:
        residual = values - ready.fit.model.design(ready.years) @ ready.fit.parameters
    flagged, score = hampel(residual, parameters.hampel_half_window, parameters.hampel_limit)
    found: list[Anomaly] = []
    for i in np.flatnonzero(flagged):
        if found and found[-1].end_index == i - 1:
            start, peak = found[-1].start_index, max(found[-1].score, abs(float(score[i])))
            found[-1] = Anomaly(start, int(i), "spike", peak, found[-1].size)
        else:
            found.append(Anomaly(int(i), int(i), "spike", abs(float(score[i])), float(residual[i])))
    found += find_frozen(values, parameters.detector)
    day = np.timedelta64(1, "D")
    return [
        _finding(times, anomaly, parameters)
        for anomaly in found
        if not any(start - day < times[anomaly.start_index] <= end for start, end in judged)
    ]


def _without_told(found: Sequence[Finding], ready: Prepared) -> list[Finding]:
    """One event, one finding: a spike or shift at a logged step, or at one that `velocity` reports, is that step."""
    told = [
        (
            numpy_time(event.start) - TOLD_WITHIN,
            numpy_time(event.start) + TOLD_WITHIN,
            np.inf if event.size is None else abs(event.size),
        )
        for event in ready.logged
    ]
    told += [
        (*(from_decimal_years([step.earliest, step.latest]) + np.array([-TOLD_WITHIN, TOLD_WITHIN])), abs(step.size))
        for step in ready.detected
    ]

    def is_told(finding: Finding) -> bool:
        if finding.kind not in {FindingKind.SPIKE, FindingKind.LEVEL_SHIFT}:
            return False
        at, size = numpy_time(finding.start), abs(finding.size or 0.0)
        return any(low <= at <= high and size <= TOLD_SIZE * step for low, high, step in told)

    return [finding for finding in found if not is_told(finding)]


def _finding(times: Times, anomaly: Anomaly, parameters: AnomalyParameters) -> Finding:
    sized = anomaly.kind in {"spike", "level_shift", "drift"}
    return Finding(
        FindingKind(anomaly.kind),
        aware(times[anomaly.start_index]),
        aware(times[anomaly.end_index]),
        anomaly.size if sized else None,
        None,
        anomaly.score,
        parameters.velocity.unit if sized else None,
    )
