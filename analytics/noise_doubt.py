"""How much wider an interval must be because the noise itself was estimated.

A generalised-least-squares sigma takes the noise model for known. It is not: the few slow wiggles of a record are all that tells
how far it wanders. With theta the parameters of the noise at their restricted maximum likelihood, H the curvature of the likelihood
there and g the gradient of log s^2, s the sigma of one coefficient, Satterthwaite's degrees of freedom are

    nu = 2 / (g' H^-1 g + 2 / (n - p)),

and the interval at 95 % is t_nu times the sigma instead of 1.96 times. Flicker noise, which the choice by BIC prefers to a free
index as long as the record cannot tell, keeps the doubt about its index: geodetic series have indices of 1 with a standard
deviation of 0.15. The covariance is widened by the square of that ratio, so that 1.96 sigmas hold 95 %. This file holds that.

References: Santamaria-Gomez et al. (2011), doi:10.1029/2010JB007442 (indices); Satterthwaite (1946), doi:10.2307/3002019;
Kenward and Roger (1997), doi:10.2307/2533558; Abramowitz and Stegun (1964), 26.7.5 (quantiles of t).
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from analytics.gls import Grid, generalised_least_squares
from analytics.minimise import differences
from analytics.noise import NoiseModel
from analytics.sampling import Floats

FEWEST = 4.0
"""Degrees of freedom are not taken to be fewer: below, the expansion around the estimate says nothing."""

PRIOR_SIGMA = 4.0
"""Standard deviation of the logits before the data: a share between 0.0003 and 0.9997. It holds where the likelihood is flat."""

INDEX_LOGIT_SIGMA = 0.3
"""The same of an index that flicker noise takes for 1: 0.15 in the index, whose logit moves twice as fast there."""


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t by its expansion in 1 / freedom, for freedoms of four and more.

    Examples
    --------
    >>> round(student_quantile(0.975, 10.0), 3), round(student_quantile(0.975, 1e9), 2)
    (2.228, 1.96)
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return float(z + first / freedom + second / freedom**2 + third / freedom**3)


def degrees_of_freedom(grid: Grid, model: NoiseModel, coefficient: int) -> float:
    """Satterthwaite's degrees of freedom of the variance of one coefficient.

    Parameters
    ----------
    grid : Grid
        As `search_grid` gives it: the part of the record on which the noise was searched for.
    model : NoiseModel
        At the maximum of its restricted likelihood.
    coefficient : int
        Column of the design.

    Returns
    -------
    float
        At least `FEWEST`.
    """
    free = float(max(grid.n_observed - grid.design.shape[1], 1))
    at = _parameters(model)
    if not at.size:
        return max(free, FEWEST)
    known: dict[bytes, tuple[float, float]] = {}

    def both(x: Floats) -> tuple[float, float]:
        key = x.tobytes()
        if key not in known:
            fit = generalised_least_squares(grid, _moved(model, x))
            variance = max(float(fit.covariance[coefficient, coefficient]), 1e-300)
            known[key] = -fit.noise.log_likelihood, float(np.log(variance))
        return known[key]

    steps = np.where(np.arange(at.size) == 0, 0.5, 0.3)
    middle = both(at)
    _, curvature = differences(lambda x: both(x)[0], at, steps, middle[0])
    slope, _ = differences(lambda x: both(x)[1], at, steps, middle[1])
    roots, axes = np.linalg.eigh(curvature)
    seen = (axes * np.maximum(roots, 0.0)) @ axes.T
    prior = np.full(at.size, PRIOR_SIGMA)
    if model.name == "flicker_white":
        prior[1] = INDEX_LOGIT_SIGMA
    doubt = float(slope @ np.linalg.solve(seen + np.diag(prior**-2), slope))
    return max(2.0 / (doubt + 2.0 / free), FEWEST)


def widening(freedom: float, probability: float = 0.95) -> float:
    """Factor on a sigma that makes the normal interval as wide as Student's.

    Examples
    --------
    >>> round(widening(20.0), 3)
    1.064
    """
    upper = 0.5 + 0.5 * probability
    return student_quantile(upper, freedom) / NormalDist().inv_cdf(upper)


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-6), 1.0 - 1e-6)
    return float(np.log(bounded / (1.0 - bounded)))


def _parameters(model: NoiseModel) -> Floats:
    """Free parameters on unbounded scales."""
    if model.name == "white":
        return np.empty(0)
    if model.name == "ar1":
        return np.array([np.arctanh(min(max(model.ar_coefficient, -0.9999), 0.9999))])
    return np.array([_logit(model.white_share), _logit(model.index / 2.0)])


def _moved(model: NoiseModel, x: Floats) -> NoiseModel:
    if model.name == "ar1":
        return replace(model, scale=1.0, ar_coefficient=float(np.tanh(x[0])))
    share = float(1.0 / (1.0 + np.exp(-np.clip(x[0], -16.0, 13.0))))
    return replace(model, scale=1.0, white_share=share, index=float(2.0 / (1.0 + np.exp(-x[1]))))
