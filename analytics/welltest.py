"""Pumping tests by curves: Theis and Hantush-Jacob, all observation wells together.

Times are days, lengths metres, discharge m3/d, drawdown positive. Parameters are fitted as logarithms, so that none can turn negative,
and their sigmas are those of the logarithms times the value. This file finishes with `fit_pumping`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analytics.sampling import Floats

LN10 = float(np.log(10.0))
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)


@dataclass(frozen=True)
class ObservedDrawdown:
    """Drawdown seen at one distance: `time_d` since pumping began and `drawdown_m`, each (n,), `radius_m` from the pumped well."""

    time_d: Floats
    drawdown_m: Floats
    radius_m: float


@dataclass(frozen=True)
class WellTest:
    """What a test says of the aquifer.

    Attributes
    ----------
    transmissivity, transmissivity_sigma : float
        m2/d.
    storativity, storativity_sigma : float
        Dimensionless; NaN where the method gives none.
    resistance_d, resistance_sigma_d : float
        Hydraulic resistance of the leaky layer, d; infinity for a confined aquifer.
    rmse_m : float
        Root mean square residual.
    n, n_left_out : int
        Samples used, and early ones left out.
    resistance_skin_d_per_m2 : float
        Additional head loss in the well over the discharge, d/m2; 0 where it was not fitted.
    """

    transmissivity: float
    transmissivity_sigma: float
    storativity: float
    storativity_sigma: float
    resistance_d: float
    resistance_sigma_d: float
    rmse_m: float
    n: int
    n_left_out: int = 0
    resistance_skin_d_per_m2: float = 0.0


def theis_function(u: ArrayLike) -> Floats:
    r"""Well function of a confined aquifer.

    .. math:: W(u) = \int_u^\infty \frac{e^{-y}}{y}\,dy = E_1(u)

    Parameters
    ----------
    u : array_like
        r2 S / (4 T t), positive.

    References
    ----------
    Theis C.V. 1935, Trans. AGU 16, 519-524, doi:10.1029/TR016i002p00519.

    Examples
    --------
    >>> theis_function([0.01, 1.0]).round(4).tolist()
    [4.0379, 0.2194]
    """
    from scipy.special import exp1

    return np.asarray(exp1(np.asarray(u, dtype=np.float64)), dtype=np.float64)


def hantush_function(u: ArrayLike, beta: float) -> Floats:
    r"""Well function of a leaky aquifer without storage in the leaky layer.

    .. math:: W(u, \beta) = \int_u^\infty \exp\!\left(-y - \frac{\beta^2}{4y}\right) \frac{dy}{y}

    by Gauss-Legendre on the logarithm of y, good to some ten digits for u >= 1e-8 and beta <= 5.

    Parameters
    ----------
    u : array_like, shape (n,)
    beta : float
        r / sqrt(T c).

    References
    ----------
    Hantush M.S., Jacob C.E. 1955, Trans. AGU 36, 95-100, doi:10.1029/TR036i001p00095.

    Examples
    --------
    >>> hantush_function([0.01, 0.1], 0.1).round(4).tolist()
    [3.815, 1.805]
    """
    values = np.asarray(u, dtype=np.float64)
    low = np.log(values)[..., None]
    # Below beta^2/4/50 the integrand is nothing; cutting there keeps the nodes where it is not.
    low = np.maximum(low, np.log(max(beta, 1e-12) ** 2 / 4.0 / 50.0))
    high = np.maximum(np.log(50.0), low + 1e-9)
    half = (high - low) / 2.0
    x = low + half * (_NODES + 1.0)
    y = np.exp(x)
    return np.asarray((half * _WEIGHTS * np.exp(-y - beta**2 / (4.0 * y))).sum(axis=-1), dtype=np.float64)


def drawdown(
    time_d: ArrayLike,
    radius_m: float,
    discharge_m3_d: float,
    transmissivity: float,
    storativity: float,
    resistance_d: float = np.inf,
    stop_d: float = np.inf,
) -> Floats:
    r"""Drawdown at a distance from a well that pumps from 0 to `stop_d`.

    .. math:: s = \frac{Q}{4\pi T}\,\bigl[W(u(t), \beta) - W(u(t - t_{stop}), \beta)\,H(t - t_{stop})\bigr]

    Parameters
    ----------
    time_d : array_like, shape (n,)
        Positive, days since pumping began.
    radius_m, discharge_m3_d, transmissivity, storativity : float
        m, m3/d, m2/d, dimensionless.
    resistance_d : float
        Of the leaky layer; infinity = confined.
    stop_d : float
        When pumping stopped.

    Returns
    -------
    ndarray, shape (n,)
        Metres, positive down.

    Examples
    --------
    >>> drawdown([1.0], 50.0, 1000.0, 500.0, 1e-4).round(3).tolist()
    [1.339]
    """
    time = np.asarray(time_d, dtype=np.float64)
    beta = radius_m / np.sqrt(transmissivity * resistance_d) if np.isfinite(resistance_d) else 0.0

    def well(t: Floats) -> Floats:
        u = radius_m**2 * storativity / (4.0 * transmissivity * np.maximum(t, 1e-12))
        return theis_function(u) if beta == 0.0 else hantush_function(u, float(beta))

    after = time > stop_d
    shape = well(time)
    if after.any():
        shape = shape - np.where(after, well(np.where(after, time - stop_d, 1.0)), 0.0)
    return np.asarray(discharge_m3_d / (4.0 * np.pi * transmissivity) * shape, dtype=np.float64)


def fit_pumping(
    observed: Sequence[ObservedDrawdown], discharge_m3_d: float, leaky: bool = False, stop_d: float = np.inf
) -> WellTest | None:
    """Fit Theis (or, `leaky`, Hantush-Jacob) to all observation wells of a test together.

    Least squares of the unweighted residuals in metres, so that the root mean square residual compares with the published ones.

    Parameters
    ----------
    observed : sequence of ObservedDrawdown
        Samples with a time of 0 or before, and NaN, are left out.
    discharge_m3_d : float
    leaky : bool
    stop_d : float
        When pumping stopped, if recovery is part of the samples.

    Returns
    -------
    WellTest or None
        None with fewer samples than parameters or a drawdown that is nowhere positive.

    References
    ----------
    Kruseman G.P., de Ridder N.A. 1994, Analysis and evaluation of pumping test data, ILRI Publ. 47.

    Examples
    --------
    >>> t = np.geomspace(1e-3, 1.0, 30)
    >>> seen = ObservedDrawdown(t, drawdown(t, 50.0, 1000.0, 500.0, 1e-4), 50.0)
    >>> found = fit_pumping([seen], 1000.0)
    >>> round(found.transmissivity), f"{found.storativity:.1e}"
    (500, '1.0e-04')
    """
    wells = [usable(item) for item in observed]
    n = sum(item.time_d.size for item in wells)
    start = _start_values(wells, discharge_m3_d) if n > 3 else None
    if start is None:
        return None
    guess = [np.log(start[0]), np.log(start[1])]
    farthest = max(item.radius_m for item in wells)

    def residual(parameters: Floats) -> Floats:
        transmissivity, storativity = np.exp(parameters[0]), np.exp(parameters[1])
        resistance = float(np.exp(parameters[2])) if leaky else np.inf
        modelled = [
            drawdown(item.time_d, item.radius_m, discharge_m3_d, transmissivity, storativity, resistance, stop_d)
            for item in wells
        ]
        return np.concatenate([model - item.drawdown_m for model, item in zip(modelled, wells, strict=True)])

    # The leakage factor sqrt(T c) may be a little or much beyond the farthest well, and the sum of squares has a valley toward no leakage.
    starts = [[*guess, np.log((factor * farthest) ** 2 / start[0])] for factor in (1.0, 3.0, 10.0)] if leaky else [guess]
    values, sigmas, rmse = min((least_squares(residual, np.array(first)) for first in starts), key=lambda found: found[2])
    resistance = (float(np.exp(values[2])), float(np.exp(values[2]) * sigmas[2])) if leaky else (np.inf, np.nan)
    return WellTest(
        float(np.exp(values[0])),
        float(np.exp(values[0]) * sigmas[0]),
        float(np.exp(values[1])),
        float(np.exp(values[1]) * sigmas[1]),
        *resistance,
        rmse,
        n,
    )


def usable(item: ObservedDrawdown) -> ObservedDrawdown:
    """Return the finite samples after the start of pumping."""
    keep = (item.time_d > 0.0) & np.isfinite(item.drawdown_m) & np.isfinite(item.time_d)
    return ObservedDrawdown(item.time_d[keep], item.drawdown_m[keep], item.radius_m)


def _start_values(wells: Sequence[ObservedDrawdown], discharge_m3_d: float) -> tuple[float, float] | None:
    """Transmissivity and storativity of a straight line through the later half of the well with most samples."""
    item = max(wells, key=lambda one: one.time_d.size)
    late = item.time_d >= np.median(item.time_d)
    logs = np.log10(item.time_d[late])
    if np.ptp(logs) <= 0.0 or item.drawdown_m.max() <= 0.0:
        return None
    slope = max(float(np.polyfit(logs, item.drawdown_m[late], 1)[0]), 1e-3 * float(item.drawdown_m.max()))
    transmissivity = LN10 * abs(discharge_m3_d) / (4.0 * np.pi * slope)
    return transmissivity, max(transmissivity * float(item.time_d.min()) / item.radius_m**2, 1e-9)


def least_squares(
    residual: Callable[[Floats], Floats], guess: Floats, step: float | None = None, tolerance: float = 1e-12
) -> tuple[Floats, Floats, float]:
    """Return parameters, their sigmas and the root mean square residual of a Levenberg-Marquardt fit.

    `step` is the relative step of the derivatives, for residuals that are not smooth to the last digit.
    """
    from scipy.optimize import least_squares as minimise

    found = minimise(residual, guess, method="lm", xtol=tolerance, ftol=tolerance, diff_step=step)
    freedom = max(found.fun.size - guess.size, 1)
    normal = found.jac.T @ found.jac
    covariance = np.linalg.pinv(normal) * float(found.fun @ found.fun) / freedom
    rmse = float(np.sqrt(np.mean(found.fun**2)))
    return found.x, np.sqrt(np.maximum(np.diag(covariance), 0.0)), rmse
