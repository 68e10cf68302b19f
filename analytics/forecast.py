"""What comes next, and when a limit will be reached: with an interval, or not at all.

The forecast is the trajectory carried on plus what the noise model expects of its own past, and its band is
universal kriging's: with the whitened past e and the impulse response h,

    n(T + m) = sum_j h_(j+m) e_(T-j),   var = sum_(j<m) h_j^2 + d' P d,

d being the part of the design row that the past does not predict and P the parameters' covariance. Beyond a
third of the record nothing is said. This file holds the forecast, its recomputation and the time to a limit.

References: Cressie (1993), Statistics for Spatial Data, section 3.4 (universal kriging).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from analytics.gls import Grid, conditional_series, lay_on_grid
from analytics.noise import NoiseModel, apply_filter, whiten
from analytics.sampling import Floats
from analytics.trajectory import TrajectoryFit, model_from_json

HORIZON_SHARE = 1.0 / 3.0
KNOTS = 48


@dataclass(frozen=True)
class Forecast:
    """Knots of a forecast.

    Attributes
    ----------
    years : ndarray, shape (k,)
        Decimal years, the first is the last sample's.
    noise_mean : ndarray, shape (k,)
        What the noise's own past adds to the trajectory.
    sigma : ndarray, shape (k,)
        Standard deviation of a future observation.
    horizon_a : float
        Length in years; a third of the record at most.
    """

    years: Floats
    noise_mean: Floats
    sigma: Floats
    horizon_a: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; the inverse is :func:`forecast_from_json`."""
        return {
            "years": self.years.tolist(),
            "noise_mean": self.noise_mean.tolist(),
            "sigma": self.sigma.tolist(),
            "horizon_a": self.horizon_a,
        }


def forecast_from_json(stored: Mapping[str, Any]) -> Forecast:
    """Rebuild a forecast from a stored run."""
    return Forecast(
        np.asarray(stored["years"], dtype=np.float64),
        np.asarray(stored["noise_mean"], dtype=np.float64),
        np.asarray(stored["sigma"], dtype=np.float64),
        float(stored["horizon_a"]),
    )


def forecast(years: Floats, values: Floats, fit: TrajectoryFit, horizon_a: float | None = None) -> Forecast | None:
    """Forecast of a future observation on knots that grow apart.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        The samples that were fitted.
    fit : TrajectoryFit
    horizon_a : float, optional
        Wanted length in years; a third of the record if absent.

    Returns
    -------
    Forecast or None
        None where the horizon passes a third of the record or the record is shorter than a year.
    """
    span = float(years[-1] - years[0]) if years.size else 0.0
    longest = HORIZON_SHARE * span
    wanted = longest if horizon_a is None else horizon_a
    if span < 1.0 or wanted <= 0.0 or wanted > longest * (1.0 + 1e-9):
        return None
    grid = lay_on_grid(years, fit.model.design(years), values - fit.fitted, fit.noise.step_a)
    steps = max(int(np.ceil(wanted / grid.step_a)), 1)
    at = np.unique(np.concatenate(([1], np.round(np.geomspace(1, steps, KNOTS)), [steps]))).astype(np.int64)
    future = years[-1] + at * grid.step_a
    predicted, growth = _carry_on(grid, fit.noise, at)
    departure = fit.model.design(future) - predicted[:, :-1]
    variance = fit.noise.scale**2 * growth + np.einsum("ij,jk,ik->i", departure, fit.covariance, departure)
    start_sigma = float(fit.noise.scale)
    return Forecast(
        np.concatenate(([years[-1]], future)),
        np.concatenate(([predicted[0, -1]], predicted[:, -1])),
        np.concatenate(([start_sigma], np.sqrt(np.maximum(variance, 0.0)))),
        float(future[-1] - years[-1]),
    )


def _carry_on(grid: Grid, noise: NoiseModel, at: Any) -> tuple[Floats, Floats]:
    """Conditional expectation of every column at the steps ahead, and the unit variance of the noise there."""
    columns = conditional_series(grid, noise)
    innovations = whiten(columns, noise)
    ahead = int(at[-1])
    response = noise.filters(grid.n + ahead)[0]
    padded = np.vstack((innovations, np.zeros((ahead, columns.shape[1]))))
    carried = apply_filter(response, padded)[grid.n + at - 1]
    return carried, np.cumsum(response**2)[at - 1]


@dataclass(frozen=True)
class LimitTime:
    """When a limit will be reached.

    Attributes
    ----------
    status : str
        "reached", "within", "beyond_horizon" or "cannot_tell".
    year, earliest, latest : float or None
        Decimal years; `latest` is None where the far end of the interval lies beyond the horizon.
    """

    status: str
    year: float | None = None
    earliest: float | None = None
    latest: float | None = None
    level: float = 0.8


def time_to_limit(
    result: Mapping[str, Any],
    limit: float,
    current: float,
    rising: bool,
    level: float = 0.8,
) -> LimitTime:
    """Time at which the forecast passes a limit, from a stored run.

    Parameters
    ----------
    result : mapping
        Result of a velocity run with its model, parameters, covariance and forecast.
    limit : float
        In the datastream's own unit.
    current : float
        Present level (a robust mean of the newest samples).
    rising : bool
        Whether the limit is passed from below.
    level : float
        Probability of the interval.

    Returns
    -------
    LimitTime
    """
    sign = 1.0 if rising else -1.0
    if sign * (current - limit) >= 0.0:
        return LimitTime("reached", level=level)
    stored = result.get("forecast")
    if not stored:
        return LimitTime("cannot_tell", level=level)
    knots = forecast_from_json(stored)
    years = np.linspace(knots.years[0], knots.years[-1], 2000)
    curve = fit_curve(result, years, level)
    near = curve.upper if rising else curve.lower
    far = curve.lower if rising else curve.upper
    earliest, expected, latest = (_first_passing(years, sign * (line - limit)) for line in (near, curve.value, far))
    if earliest is None:
        return LimitTime("beyond_horizon", level=level)
    if expected is None:
        return LimitTime("beyond_horizon", None, earliest, None, level)
    return LimitTime("within", expected, earliest, latest, level)


def _first_passing(years: Floats, above: Floats) -> float | None:
    """Time of the first crossing of zero from below, interpolated."""
    passed = np.flatnonzero(above >= 0.0)
    if not passed.size:
        return None
    i = int(passed[0])
    if i == 0:
        return float(years[0])
    share = -above[i - 1] / (above[i] - above[i - 1])
    return float(years[i - 1] + share * (years[i] - years[i - 1]))


@dataclass(frozen=True)
class Curve:
    """Fitted curve and band at given times, in the datastream's own unit; NaN past the forecast's horizon and before the record."""

    years: Floats
    value: Floats
    lower: Floats
    upper: Floats
    trend: Floats
    is_forecast: np.ndarray[Any, np.dtype[np.bool_]]


def fit_curve(result: Mapping[str, Any], years: Floats, level: float = 0.95) -> Curve:
    """Recompute the fitted curve and the forecast band of a stored run.

    Parameters
    ----------
    result : mapping
        `Run.result` of a velocity run.
    years : ndarray, shape (n,)
        Decimal years.
    level : float
        Probability of the band: of the mean curve within the record, of a new observation after it.

    Returns
    -------
    Curve
    """
    t = np.asarray(years, dtype=np.float64)
    model = model_from_json(result["model"])
    parameters = np.asarray(result["parameters"], dtype=np.float64)
    covariance = np.asarray(result["covariance"], dtype=np.float64)
    design = model.design(t)
    value = design @ parameters
    sigma = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", design, covariance, design), 0.0))
    trend_design = design.copy()
    for i, name in enumerate(model.names):
        if name.startswith(("sin_", "cos_")):
            trend_design[:, i] = 0.0
    start, end = float(result["start_year"]), float(result["end_year"])
    ahead = t > end
    if result.get("forecast"):
        knots = forecast_from_json(result["forecast"])
        value = np.where(ahead, value + np.interp(t, knots.years, knots.noise_mean), value)
        sigma = np.where(ahead, np.interp(t, knots.years, knots.sigma), sigma)
        known = t <= knots.years[-1] + 1e-9
    else:
        known = ~ahead
    known &= t >= start - 1e-9
    width = NormalDist().inv_cdf(0.5 + 0.5 * level) * sigma
    hidden = np.where(known, 0.0, np.nan)
    scale = float(result.get("scale", 1.0))
    return Curve(
        t,
        (value + hidden) / scale,
        (value - width + hidden) / scale,
        (value + width + hidden) / scale,
        (trend_design @ parameters + hidden) / scale,
        ahead & known,
    )
