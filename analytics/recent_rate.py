"""The method `rate_12mo`: the rate over the last twelve months, with its sigma, or "cannot tell".

For continuous series the trajectory of the whole record gets hinges one and three years before its end, so
that seasons and logged steps are known from the whole record while the slope is that of the last year, and
its sigma is the noise model's. For surveys it is the weighted slope of the epochs of the last year. This
file holds that method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from analytics.method import aware, make_run, numpy_time
from analytics.preparation import Prepared, VelocityParameters, prepare
from analytics.sampling import Samples, decimal_years
from analytics.trajectory import TrajectoryFit, TrajectoryModel, fit_trajectory, fit_weighted
from domain.finding import Outcome, Scalar
from domain.model import StationEvent
from domain.quality import Quality

NAME, VERSION = "rate_12mo", "3"


@dataclass(frozen=True)
class RecentRateParameters:
    """The one default setting.

    Attributes
    ----------
    window_a : float
        Length of the window in years.
    minimum_months : int
        Twelfths of the window that must hold samples.
    stale_d : float
        Age of the newest sample in days beyond which a continuous series has no present rate.
    sparse_reach_a : float
        How far beyond the window the first survey may lie.
    sparse_stale_a : float
        Age of the newest survey in years beyond which there is no present rate.
    """

    velocity: VelocityParameters = field(default_factory=VelocityParameters)
    window_a: float = 1.0
    minimum_months: int = 9
    stale_d: float = 60.0
    sparse_reach_a: float = 0.3
    sparse_stale_a: float = 1.5


def run(samples: Samples, events: Sequence[StationEvent], parameters: RecentRateParameters, now: datetime) -> Outcome:
    """Estimate the rate over the last twelve months before the newest sample."""
    return outcome(samples, events, parameters, prepare(samples, events, parameters.velocity, now), now)


def outcome(
    samples: Samples,
    events: Sequence[StationEvent],
    parameters: RecentRateParameters,
    ready: Prepared,
    now: datetime,
) -> Outcome:
    """Judge coverage, estimate, and write down."""
    reason = _reason_to_refuse(ready, parameters, now)
    estimate: tuple[float, float | None] | None = None
    if reason is None:
        estimate = _sparse_rate(ready, parameters) if ready.sparse else _dense_rate(ready, parameters)
        reason = "coverage" if estimate is None else None
    unit = f"{parameters.velocity.unit}/a"
    result: dict[str, Any] = {"unit": unit, "window_a": parameters.window_a, "reason": reason}
    status = "cannot_tell"
    if estimate is not None:
        status = "interim" if ready.span_a < 2.5 else "ok"
        result |= {"rate": estimate[0], "rate_sigma": estimate[1], "interim": status == "interim"}
    record = make_run((NAME, VERSION), samples, events, parameters, status, result)
    if not len(ready.samples):
        return Outcome(record)
    end = aware(ready.samples.time[-1])
    if estimate is None:
        scalar = Scalar("rate_12mo", unit, end, None, None, Quality.MISSING, ("cannot_tell", str(reason)))
    elif status == "interim":
        scalar = Scalar("rate_12mo", unit, end, *estimate, Quality.UNKNOWN, ("interim",))
    else:
        scalar = Scalar("rate_12mo", unit, end, *estimate)
    return Outcome(record, (scalar,))


def _reason_to_refuse(ready: Prepared, parameters: RecentRateParameters, now: datetime) -> str | None:
    if not len(ready.samples):
        return "empty"
    age_a = float(decimal_years(np.array([numpy_time(now)]))[0] - ready.years[-1])
    limit_a = parameters.sparse_stale_a if ready.sparse else parameters.stale_d / 365.25
    if age_a > limit_a:
        return "stale"
    if ready.fit is None:
        return "too_short"
    # A record of exactly one year of days ends a day short of the window.
    if ready.span_a < parameters.window_a - (parameters.sparse_reach_a if ready.sparse else 0.01):
        return "too_short"
    return None


def _dense_rate(ready: Prepared, parameters: RecentRateParameters) -> tuple[float, float] | None:
    years, values = ready.years[ready.kept], ready.samples.value[ready.kept]
    fit = ready.certain
    if fit is None or not years.size:
        return None
    end = float(ready.years[-1])
    inside = years[years > end - parameters.window_a]
    months = np.floor((end - inside) / parameters.window_a * 12.0).astype(int)
    if np.unique(months).size < parameters.minimum_months:
        return None
    hinged = _hinged(fit, float(years[0]), end, parameters.window_a)
    # The noise is estimated anew: a bend that the straight trajectory lacks would pass for wandering noise.
    recent = fit_trajectory(years, values, hinged, (fit.noise.name,))
    weights = np.array([float(n == "rate" or n.startswith("hinge_")) for n in hinged.names])
    sigma = float(np.sqrt(max(weights @ recent.covariance @ weights, 0.0)))
    return float(weights @ recent.parameters), sigma


def _hinged(fit: TrajectoryFit, start: float, end: float, window_a: float) -> TrajectoryModel:
    """The trajectory with a rate of its own in the last year and in the two before it."""
    hinges = tuple(end - k * window_a for k in (3.0, 1.0) if end - k * window_a - start > 0.5 * window_a)
    return replace(fit.model, hinges=hinges, acceleration=False)


def _sparse_rate(ready: Prepared, parameters: RecentRateParameters) -> tuple[float, float | None] | None:
    fit = ready.fit
    if fit is None:
        return None
    years = ready.years
    start = years[-1] - parameters.window_a - parameters.sparse_reach_a
    inside = years >= start
    if inside.sum() < 2 or years[-1] - years[inside][0] < parameters.window_a - parameters.sparse_reach_a:
        return None
    levels = ready.samples.value.copy()
    for j, step in enumerate(fit.model.steps):
        levels -= np.where(years >= step, fit.value_of(f"step_{j}"), 0.0)
    sigma = ready.samples.sigma
    known = sigma is not None and bool(np.all(np.isfinite(sigma[inside]) & (sigma[inside] > 0.0)))
    spread = sigma[inside] if sigma is not None and known else np.full(int(inside.sum()), fit.noise.scale)
    if not np.all(spread > 0.0):
        spread = np.ones(int(inside.sum()))
    model = TrajectoryModel(float(years[inside].mean()), harmonics=())
    recent = fit_weighted(years[inside], levels[inside], spread, model)
    return recent.value_of("rate"), recent.sigma_of("rate")
