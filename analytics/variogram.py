r"""Variograms by restricted maximum likelihood: how rough the surface is decides how well it is known between the marks.

.. math:: -2 \ell = \ln|V| + \ln(1^T V^{-1} 1) + r^T V^{-1} r, \qquad V = C(\theta) + n I + D,

with r the values less their generalised mean, D the known variances of the data and theta sill, range and smoothness (three members of the
Matern family). An exponential variogram alone, fitted by moments, takes a smooth funnel for a rough one and its sigmas are then far too wide.

References: Kitanidis (1983), doi:10.1029/WR019i004p00909 (restricted likelihood); Stein (1999), doi:10.1007/978-1-4612-1494-6 (Matern);
Dubrule (1983), doi:10.1007/BF01033233 (leaving one out without refitting). This file finishes with `left_out`.
"""

from __future__ import annotations

import numpy as np

from analytics.kriging import AT_RANGE, Variogram, fit_variogram
from analytics.sampling import Floats

MOST_POINTS = 300
"""The likelihood costs the cube of the number: of more data every n-th is taken."""
START_RANGES = (0.5, 1.5, 4.0)
START_NUGGETS = (1e-4, 0.05, 0.5)
STEP = 0.5
LEAST_POINTS = 8
PREFERENCE = 4.0
"""A smoother surface must be better by so much in minus twice the logarithm: taken for smooth wrongly, its sigmas are too narrow."""


def fit_by_likelihood(points_m: Floats, values: Floats, sigma: Floats | None = None) -> Variogram:
    """Return the variogram of the highest restricted likelihood.

    Parameters
    ----------
    points_m : ndarray, shape (n, 2)
    values : ndarray, shape (n,)
    sigma : ndarray, shape (n,), optional
        Known errors of the data; NaN = unknown, taken as the median of the others.

    Returns
    -------
    Variogram
        With fewer than eight points, or values that do not vary, the one by moments.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> points = rng.uniform(-5000.0, 5000.0, (80, 2))
    >>> funnel = 30.0 * np.exp(-(points**2).sum(axis=1) / 8e6) + rng.normal(0.0, 0.5, 80)
    >>> fit_by_likelihood(points, funnel, np.full(80, 0.5)).smoothness > 0.5
    True
    """
    from scipy.optimize import minimize

    first = fit_variogram(points_m, values, sigma)
    variance = float(np.var(values)) if len(values) else 0.0
    if len(values) < LEAST_POINTS or variance == 0.0:
        return first
    keep = slice(None, None, -(-len(values) // MOST_POINTS))
    points, z = points_m[keep], values[keep]
    known = _known_variance(sigma, len(values))[keep]
    distance = _distances(points)
    # Logarithms of nugget, sill and range in units of the data's own, so that no unit and no place changes the search.
    units = np.log([variance, variance, first.range_m])
    sill = float(np.log(max(first.sill / variance, 0.3)))
    starts = [np.array([np.log(nugget), sill, np.log(times)]) for times in START_RANGES for nugget in START_NUGGETS]
    best: tuple[float, Variogram] | None = None
    for smoothness in AT_RANGE:

        def cost(log: Floats, smoothness: float = smoothness) -> float:
            return _minus_log_likelihood(_variogram(log + units, smoothness), distance, z, known)

        begin = min(starts, key=cost)
        corners = np.vstack((begin, begin + STEP * np.eye(3)))
        found = minimize(
            cost, begin, method="Nelder-Mead", options={"initial_simplex": corners, "xatol": 0.02, "fatol": 0.02, "maxfev": 150}
        )
        if best is None or found.fun < best[0] - PREFERENCE:
            best = (float(found.fun), _variogram(np.asarray(found.x) + units, smoothness))
    assert best is not None
    return best[1] if np.isfinite(best[0]) else first


def _variogram(log: Floats, smoothness: float) -> Variogram:
    nugget, sill, range_m = np.exp(np.clip(log, -60.0, 60.0)).tolist()
    return Variogram(nugget, sill, range_m, smoothness)


def _known_variance(sigma: Floats | None, n: int) -> Floats:
    if sigma is None or not np.isfinite(sigma).any():
        return np.zeros(n)
    return np.asarray(np.where(np.isfinite(sigma), sigma, np.nanmedian(sigma)) ** 2)


def _distances(points: Floats) -> Floats:
    gap = points[:, None, :] - points[None, :, :]
    return np.asarray(np.sqrt((gap**2).sum(axis=-1)))


def _minus_log_likelihood(variogram: Variogram, distance: Floats, values: Floats, known: Floats) -> float:
    """Minus twice the restricted logarithm; infinite where the matrix is not positive."""
    from scipy.linalg import LinAlgError, solve_triangular

    try:
        lower = np.linalg.cholesky(_matrix(variogram, distance, known))
    except (LinAlgError, np.linalg.LinAlgError):
        return np.inf
    both = solve_triangular(lower, np.column_stack((np.ones(values.size), values)), lower=True)
    ones, z = both[:, 0], both[:, 1]
    weight = float(ones @ ones)
    residual = z - ones * float(ones @ z) / weight
    return float(2.0 * np.log(np.diag(lower)).sum() + np.log(weight) + residual @ residual)


def _matrix(variogram: Variogram, distance: Floats, known: Floats) -> Floats:
    matrix = variogram.covariance(distance)
    matrix[np.diag_indices_from(matrix)] += variogram.nugget + known + 1e-8 * variogram.sill
    return matrix


def left_out(points_m: Floats, values: Floats, variogram: Variogram, sigma: Floats | None = None) -> Floats:
    """Return each datum less what the others say of it, in standard deviations of that difference: about 1 where the variogram is right.

    Parameters
    ----------
    points_m : ndarray, shape (n, 2)
    values : ndarray, shape (n,)
    variogram : Variogram
    sigma : ndarray, shape (n,), optional

    Returns
    -------
    ndarray, shape (n,)
    """
    inverse = np.linalg.inv(_matrix(variogram, _distances(points_m), _known_variance(sigma, len(values))))
    ones = inverse.sum(axis=1)
    projected = inverse - np.outer(ones, ones) / float(ones.sum())
    return np.asarray((projected @ values) / np.sqrt(np.diag(projected)))
