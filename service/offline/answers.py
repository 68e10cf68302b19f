"""What `velocity` and `detect` say of a series, in the shapes of their `--json`. Absent means not estimated, never 0.

This file finishes with `detection_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analytics import Samples, detect_in_series
from analytics.preparation import VelocityParameters
from analytics.velocity import run
from domain.model import StationEvent
from service.commands.output import jsonable
from service.offline.reading import FileSeries

FAR_FUTURE = datetime(9000, 1, 1, tzinfo=UTC)
COPIED = ("rate", "rate_sigma", "noise_model", "midas_rate", "midas_sigma", "midas_n_used", "midas_n_pairs", "acceleration",
          "annual_amplitude", "semiannual_amplitude")  # fmt: skip


def velocity_of(series: FileSeries, events: Sequence[StationEvent]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the answer of `velocity` for one series, and the whole result that it is taken from (for plots)."""
    parameters = replace(VelocityParameters(), unit=series.unit, zone_offset_h=0.0)
    samples = Samples(series.time, series.value, series.sigma)
    result = run(samples, events, parameters, FAR_FUTURE).run.result
    finite = np.flatnonzero(np.isfinite(series.value))
    answer: dict[str, Any] = {
        "file": series.file,
        "station": series.station,
        "component": series.component,
        "unit": f"{series.unit}/a",
        "n": int(finite.size),
        "span_a": result["span_a"],
        "interim": result["interim"],
    }
    if finite.size:
        answer |= {"start": series.label(int(finite[0])), "end": series.label(int(finite[-1]))}
    answer |= {name: result[name] for name in COPIED if result.get(name) is not None}
    answer["steps"] = [_step(step, series) for step in result.get("steps", ())]
    cleaned: dict[str, Any] = jsonable(answer)
    return cleaned, result


def _step(step: Mapping[str, Any], series: FileSeries) -> dict[str, Any]:
    told = {name: step[name] for name in ("time", "size", "sigma", "source") if step.get(name) is not None}
    if series.ordinate is not None:
        moment = np.datetime64(datetime.fromisoformat(step["time"]).astimezone(UTC).replace(tzinfo=None), "us")
        told["time"] = float(np.interp(_number(moment), _number(series.time), series.ordinate))
    return told


def _number(time: Any) -> Any:
    return np.asarray(time, dtype="datetime64[us]").astype(np.int64).astype(np.float64)


def detection_of(series: FileSeries) -> dict[str, Any]:
    """Return the answer of `detect`: causal anomalies and change points; indices count the file's rows from 0."""
    ordinate = _number(series.time) / 1e6 if series.ordinate is None else series.ordinate
    found = detect_in_series(ordinate, series.value, is_time=series.ordinate is None)
    return {
        "file": series.file,
        "n": found.n,
        "anomalies": [
            {
                "start": series.label(anomaly.start_index),
                "end": series.label(anomaly.end_index),
                "start_index": anomaly.start_index,
                "end_index": anomaly.end_index,
                "kind": anomaly.kind,
                "score": float(anomaly.score),
                "grade": anomaly.grade,
            }
            for anomaly in found.anomalies
        ],
        "change_points": [
            {"time": series.label(point.index), "index": point.index, "kind": point.kind, "score": float(point.score)}
            for point in found.change_points
        ],
    }
