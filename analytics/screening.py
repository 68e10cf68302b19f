"""The method `anomaly`: spikes, level shifts, frozen values and missing patterns of a stored datastream.

Sub-daily series pass the causal detector as they are; daily and slower ones are compared with their own
seasonal trajectory first and then with their neighbours (Hampel). This file holds that method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from analytics.anomaly import Anomaly, AnomalySettings, detect_anomalies, find_frozen, find_gaps_in, hampel
from analytics.method import aware, make_run, until, without_excluded
from analytics.preparation import Prepared, VelocityParameters, prepare, scaled
from analytics.sampling import Samples, typical_interval_d
from domain.finding import Finding, FindingKind, Outcome
from domain.model import StationEvent, ValueKind

NAME, VERSION = "anomaly", "1"


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
    detector: AnomalySettings = field(default_factory=AnomalySettings)
    hampel_half_window: int = 7
    hampel_limit: float = 7.0
    daily_from_d: float = 0.75


def run(samples: Samples, events: Sequence[StationEvent], parameters: AnomalyParameters, now: datetime) -> Outcome:
    """Find anomalies in one datastream."""
    usable = until(samples, now).usable()
    daily_or_slower = typical_interval_d(usable.time) >= parameters.daily_from_d
    ready = prepare(samples, events, parameters.velocity, now) if daily_or_slower else None
    return outcome(samples, events, parameters, ready, now)


def outcome(
    samples: Samples,
    events: Sequence[StationEvent],
    parameters: AnomalyParameters,
    ready: Prepared | None,
    now: datetime,
) -> Outcome:
    """Detect and write down; `ready` is the shared fit, used for daily and slower series alone."""
    usable = scaled(without_excluded(until(samples, now), events).usable(), parameters.velocity.scale)
    found: list[Anomaly] = []
    status = "ok"
    interval = typical_interval_d(usable.time)
    if not np.isfinite(interval) or len(usable) < 20:
        status = "cannot_tell"
    elif interval >= parameters.daily_from_d:
        if ready is not None and ready.fit is not None and not ready.sparse:
            usable = ready.samples
            found = _in_residuals(ready, parameters)
    else:
        found = _in_raw(usable, parameters)
    kinds = [anomaly.kind for anomaly in found]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    result = {"n": len(usable), "counts": counts}
    record = make_run((NAME, VERSION), samples, events, parameters, status, result)
    return Outcome(record, (), tuple(_finding(usable, anomaly, parameters) for anomaly in found))


def _seconds(samples: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray((samples.time - samples.time[0]).astype(np.float64) * 1e-6)


def _in_raw(usable: Samples, parameters: AnomalyParameters) -> list[Anomaly]:
    values = usable.value
    seconds = _seconds(usable)
    if parameters.velocity.value_kind == ValueKind.TOTALISER:
        # A counter moves by its increments; its level alone is always new.
        values = np.concatenate(([0.0], np.diff(values)))
    return detect_anomalies(seconds, values, True, parameters.detector)


def _in_residuals(ready: Prepared, parameters: AnomalyParameters) -> list[Anomaly]:
    """Hampel on the departures from the seasonal trajectory, frozen runs and gaps on the values themselves."""
    assert ready.fit is not None
    residual = ready.samples.value - ready.fit.model.design(ready.years) @ ready.fit.parameters
    flagged, score = hampel(residual, parameters.hampel_half_window, parameters.hampel_limit)
    found: list[Anomaly] = []
    for i in np.flatnonzero(flagged):
        if found and found[-1].end_index == i - 1:
            start, peak = found[-1].start_index, max(found[-1].score, abs(float(score[i])))
            found[-1] = Anomaly(start, int(i), "spike", peak, found[-1].size)
        else:
            found.append(Anomaly(int(i), int(i), "spike", abs(float(score[i])), float(residual[i])))
    found += find_frozen(ready.samples.value, parameters.detector)
    found += find_gaps_in(_seconds(ready.samples), parameters.detector)
    return sorted(found, key=lambda anomaly: anomaly.start_index)


def _finding(samples: Samples, anomaly: Anomaly, parameters: AnomalyParameters) -> Finding:
    start = samples.time[anomaly.start_index]
    if anomaly.kind == "gap":
        start, end = samples.time[anomaly.start_index - 1], samples.time[anomaly.start_index]
    else:
        end = samples.time[anomaly.end_index]
    sized = anomaly.kind in {"spike", "level_shift"}
    return Finding(
        FindingKind(anomaly.kind),
        aware(start),
        aware(end),
        anomaly.size if sized else None,
        None,
        anomaly.score,
        parameters.velocity.unit if sized else None,
    )
