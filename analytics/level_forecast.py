"""The method `forecast`: where a level goes by the way of forecasting that has served this datastream best, with tested intervals.

The record is brought to months (or its own slower interval), offsets that the trajectory knows are taken off, and every model of
`forecast_models` is tried from origins in the past. The model, the width of its intervals and their coverage all come from that test;
where it has too little to say, or beyond a third of the record, nothing is said. This file holds that method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from analytics.backtest import LEVELS, BackTest, Trials, back_test, bootstrap_difference, choose, half_widths, try_models
from analytics.forecast_models import MODELS
from analytics.method import make_run, time_of, year_of
from analytics.preparation import Prepared, VelocityParameters, prepare
from analytics.sampling import Floats, Samples
from domain.finding import Outcome
from domain.model import StationEvent, ValueKind

NAME, VERSION = "forecast", "2"


@dataclass(frozen=True)
class ForecastParameters:
    """The one default setting.

    Attributes
    ----------
    period_a : float
        Length of the blocks whose means are forecast, years; a slower series keeps its own interval.
    horizon_share : float
        Longest horizon as a share of the record.
    horizon_a : float or None
        Wanted horizon in years; refused where it passes that share.
    knots : int
        Horizons at most.
    seed : int
        Of the bootstrap, so that a run can be computed again.
    """

    velocity: VelocityParameters = field(default_factory=VelocityParameters)
    period_a: float = 1.0 / 12.0
    horizon_share: float = 1.0 / 3.0
    horizon_a: float | None = None
    knots: int = 8
    seed: int = 20261122


def run(samples: Samples, events: Sequence[StationEvent], parameters: ForecastParameters, now: datetime) -> Outcome:
    """Forecast one datastream; see :func:`outcome`."""
    return outcome(samples, events, parameters, prepare(samples, events, parameters.velocity, now), now)


def outcome(
    samples: Samples, events: Sequence[StationEvent], parameters: ForecastParameters, ready: Prepared, now: datetime
) -> Outcome:
    """Test, choose, forecast and write down.

    Returns
    -------
    Outcome
        Status "ok", or "cannot_tell" with a reason: "total" (sums have no level), "too_short", "beyond_horizon" (a longer horizon was
        wanted than the share of the record), "stale" (the newest sample is older than a tenth of the record and 60 days).
    """
    result = {"unit": parameters.velocity.unit, "scale": parameters.velocity.scale} | describe(ready, parameters, now)
    status = "cannot_tell" if "reason" in result else "ok"
    return Outcome(make_run((NAME, VERSION), samples, events, parameters, status, result))


def describe(ready: Prepared, parameters: ForecastParameters, now: datetime) -> dict[str, Any]:
    """The result that is stored; values in the datastream's own unit, which is `unit` divided by `scale`."""
    if parameters.velocity.value_kind == ValueKind.TOTAL:
        return {"reason": "total"}
    years, values = blocks(ready.years[ready.kept], without_steps(ready)[ready.kept], parameters.period_a)
    span = float(years[-1] - years[0]) if years.size else 0.0
    longest = parameters.horizon_share * span
    if parameters.horizon_a is not None and parameters.horizon_a > longest * (1.0 + 1e-9):
        return {"reason": "beyond_horizon", "longest_a": longest}
    if years.size < 12 or span < 2.0:
        return {"reason": "too_short", "span_a": span}
    if year_of(now) - float(ready.years[-1]) > max(0.1 * span, 60.0 / 365.25):
        return {"reason": "stale", "span_a": span}
    horizons = _horizons(years, longest if parameters.horizon_a is None else parameters.horizon_a, parameters.knots)
    trials = try_models(years, values / parameters.velocity.scale, horizons)
    return _told(years, values / parameters.velocity.scale, trials, parameters)


def blocks(years: Floats, values: Floats, period_a: float) -> tuple[Floats, Floats]:
    """Means over blocks counted back from the newest sample; a block without samples is left out, never filled.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
    period_a : float
        Length of a block in years; the typical interval where that is longer.

    Returns
    -------
    years, values : ndarray, shape (m,)
    """
    if years.size < 2:
        return years, values
    period = max(period_a, float(np.median(np.diff(years))))
    cell = np.ceil((years - years[-1]) / period - 1e-9).astype(np.int64)
    _, position = np.unique(cell, return_inverse=True)
    counts = np.bincount(position)
    return np.bincount(position, years) / counts, np.bincount(position, values) / counts


def without_steps(ready: Prepared) -> Floats:
    """Values as if every offset of the trajectory had been there from the beginning: the newest level stays as it is."""
    values = ready.samples.value.copy()
    if ready.fit is not None:
        for j, step in enumerate(ready.fit.model.steps):
            values += np.where(ready.years < step, ready.fit.value_of(f"step_{j}"), 0.0)
    return values


def _horizons(years: Floats, longest: float, knots: int) -> Floats:
    """Horizons growing apart, each a whole number of typical intervals."""
    period = float(np.median(np.diff(years)))
    most = max(int(np.floor(longest / period + 1e-6)), 1)
    return np.unique(np.round(np.geomspace(1, most, knots))).astype(np.float64) * period


def _told(years: Floats, values: Floats, trials: Trials, parameters: ForecastParameters) -> dict[str, Any]:
    end = float(years[-1])
    name = choose(trials, end)
    said = MODELS[name](years, values, trials.horizons)
    if said is None:
        name, said = "persistence", MODELS["persistence"](years, values, trials.horizons)
    widths = half_widths(trials, name, end)
    known = np.isfinite(widths).all(axis=0)
    if said is None or not known.any():
        return {"reason": "too_short", "span_a": float(years[-1] - years[0])}
    tested = back_test(trials)
    bands: dict[str, Floats] = {}
    for level, width in zip(LEVELS, widths, strict=True):
        percent = round(100 * level)
        bands |= {f"lower_{percent}": (said - width)[known], f"upper_{percent}": (said + width)[known]}
    return {
        "model": name,
        "end_year": end,
        "end_value": float(values[-1]),
        "horizon_a": float(trials.horizons[known][-1]),
        "years": end + trials.horizons[known],
        "time": [time_of(float(year)) for year in end + trials.horizons[known]],
        "value": said[known],
        **bands,
        "backtest": _summary(tested, parameters.seed),
    }


def _summary(tested: BackTest, seed: int) -> dict[str, Any]:
    """Errors and coverage that go with the forecast, by horizon and pooled."""
    rows = []
    for h, horizon in enumerate(tested.trials.horizons):
        rmse, reference, origins = tested.rmse(h)
        row: dict[str, Any] = {"horizon_a": float(horizon), "rmse": rmse, "persistence_rmse": reference, "origins": origins}
        own, other = tested.errors[:, h], tested.reference[:, h]
        both = np.isfinite(own) & np.isfinite(other)
        if both.sum() >= 4:
            difference = bootstrap_difference(
                own[both], other[both], np.zeros(both.sum(), dtype=np.int64), np.random.default_rng(seed), draws=500
            )
            row["rmse_difference"] = dict(zip(("value", "lower_95", "upper_95"), difference, strict=True))
        for k, level in enumerate(LEVELS):
            share, cases = tested.coverage(k, h)
            row[f"coverage_{round(100 * level)}"] = share
            row["judged"] = cases
        rows.append(row)
    pooled = {f"coverage_{round(100 * level)}": tested.coverage(k)[0] for k, level in enumerate(LEVELS)}
    models = {name: float(np.mean(tested.chosen == name)) for name in sorted(set(tested.chosen.tolist()))}
    return {**pooled, "judged": tested.coverage(0)[1], "origins": int(tested.chosen.size), "chosen": models, "horizons": rows}
