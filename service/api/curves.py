"""The fitted curve and forecast band of a stored run, and the results of runs in the words of the page.

This file finishes with `curve_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from analytics import fit_curve
from analytics.sampling import decimal_years
from domain.units import convert
from service.api.reading import Scale
from service.api.times import number

BAND_LEVEL = 0.95
_SECONDS_PER_YEAR = 365.25 * 86400
_INNER = {"model", "parameters", "covariance", "forecast", "start_year", "end_year", "scale"}
_SEASONAL = ("annual", "semiannual")
_TESTED_WITHOUT_LEVELS = {"status", "reason", "model", "horizon_a", "longest_a", "span_a", "unit", "scale", "backtest"}


def results_by_role(runs: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Return velocity, recent rate, seasonal terms and forecast of the newest runs; absent means not estimated."""
    velocity = runs.get("velocity")
    if velocity is None:
        return {"rate_unit": None, "velocity": None, "recent_rate": None, "seasonal": None, "forecast": None}
    result = dict(velocity.result)
    shown = {name: value for name, value in result.items() if name not in _INNER}
    seasonal = {name: value for name, value in shown.items() if name.startswith(_SEASONAL)}
    recent, limits = runs.get("rate_12mo"), runs.get("time_to_limit")
    knots = result.get("forecast")
    tested = runs.get("forecast")
    forecast: dict[str, Any] | None = None
    if knots or limits is not None or tested is not None:
        forecast = {
            "horizon_a": knots["horizon_a"] if knots else None,
            "limits": dict(limits.result).get("limits", {}) if limits is not None else {},
        }
    if tested is not None and forecast is not None:
        forecast["tested"] = {"status": tested.status, **dict(tested.result)}
    return {
        "rate_unit": result.get("unit", f"{unit}/a"),
        "velocity": {"status": velocity.status, "window_end": velocity.window_end, **shown},
        "recent_rate": {"status": recent.status, **dict(recent.result)} if recent is not None else None,
        "seasonal": seasonal or None,
        "forecast": forecast,
    }


def without_levels(roles: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`results_by_role` says without what tells a level: limits, and the forecast's own values."""
    forecast = roles["forecast"]
    if forecast is None:
        return dict(roles)
    tested = {name: value for name, value in forecast.get("tested", {}).items() if name in _TESTED_WITHOUT_LEVELS}
    return {**roles, "forecast": {**forecast, "limits": {}, **({"tested": tested} if tested else {})}}


def curve_of(runs: Mapping[str, Any], scale: Scale, *, points: int, horizon_a: float) -> dict[str, Any] | None:
    """Recompute fitted curve and band at `points` times over record and horizon; None where no model was fitted."""
    run = runs.get("velocity")
    if run is None or "model" not in run.result or run.window_start is None or run.window_end is None:
        return None
    knots = run.result.get("forecast")
    ahead_a = min(horizon_a, float(knots["horizon_a"])) if knots else 0.0
    times = _times(run.window_start, run.window_end, ahead_a, points)
    curve = fit_curve(run.result, decimal_years(times), BAND_LEVEL)
    stamps = [f"{text}Z" for text in np.datetime_as_string(times, unit="s")]
    names = {"fitted": curve.value, "lower": curve.lower, "upper": curve.upper, "trend": curve.trend}
    moved = {name: convert(values - scale.shift, scale.source, scale.target) for name, values in names.items()}
    forecast_from = next((stamp for stamp, ahead in zip(stamps, curve.is_forecast, strict=True) if ahead), None)
    return {
        "time": stamps,
        **{name: [number(value) for value in values.tolist()] for name, values in moved.items()},
        "level": BAND_LEVEL,
        "forecast_from": forecast_from,
    }


def _times(start: datetime, end: datetime, ahead_a: float, points: int) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    seconds = np.linspace(start.timestamp(), end.timestamp() + ahead_a * _SECONDS_PER_YEAR, points)
    return np.unique(np.rint(seconds).astype("int64")).astype("datetime64[s]").astype("datetime64[us]")
