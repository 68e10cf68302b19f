"""Whether a rate changed, when, and by how much; and whether it changes steadily.

A hinge max(t - T, 0) is tested at every epoch in the whitened domain like a step (`steps`): its whitening is the running sum of a
step's, so that all dates cost a handful of transforms. The likeliest date is accepted above a fixed limit, under a noise that was
estimated again with the hinge in the trajectory. The acceleration is twice the coefficient of (t - t0)^2 / 2 under the noise of the
straight trajectory, which takes a bend for slow noise: its sigma is on the safe side. This file finishes with `find_rate_change`.

References: Bevis and Brown (2014), doi:10.1007/s00190-013-0685-5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analytics.gls import generalised_least_squares, lay_on_grid
from analytics.noise import NoiseModel
from analytics.noise_doubt import degrees_of_freedom, widening
from analytics.noise_search import estimate_noise, search_grid
from analytics.sampling import Floats
from analytics.steps import interval_around, statistics_of
from analytics.trajectory import TrajectoryFit, TrajectoryModel, fit_trajectory

HINGE_LIMIT = 20.0
"""Smallest chi-square (1 degree of freedom) of a change of rate, over all dates."""
SEASON_A = 1.0
"""Years of samples that must lie on either side of a change."""
FIRST_SHARE = 0.15
"""Share of the limit that the first look must reach: its noise still holds the bend."""
_NOISE = ("flicker_white", "powerlaw_white", "ar1")


@dataclass(frozen=True)
class RateChange:
    """A change of rate; decimal years, unit of the values per year.

    `lower` and `upper` bound the change at 95 %; `earliest` and `latest` are where the statistic is within 3.84 of its maximum.
    """

    year: float
    earliest: float
    latest: float
    change: float
    sigma: float
    lower: float
    upper: float
    rate_before: float
    rate_after: float
    score: float


def find_rate_change(years: Floats, values: Floats, fit: TrajectoryFit) -> RateChange | None:
    """The likeliest change of rate of a fitted record, if there is one.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        The samples that were fitted.
    fit : TrajectoryFit
        With its steps and seasons, without hinges.

    Returns
    -------
    RateChange or None
    """
    if years[-1] - years[0] < 2.0 * SEASON_A + 1.0 or fit.model.hinges or fit.noise.scale <= 0.0:
        return None
    centred = values - float(np.median(values))
    grid = lay_on_grid(years, fit.model.design(years), centred)
    statistic, _, _ = statistics_of(grid, fit.noise, 2)
    cells = years[0] + np.arange(grid.n) * grid.step_a
    allowed = (cells >= years[0] + SEASON_A) & (cells <= years[-1] - SEASON_A)
    best = int(np.argmax(np.where(allowed, statistic, -np.inf)))
    if not statistic[best] >= FIRST_SHARE * HINGE_LIMIT:
        return None
    model = replace(fit.model, hinges=(float(cells[best]),), acceleration=False)
    bent = lay_on_grid(years, model.design(years), centred)
    noise = estimate_noise(bent, _NOISE)[0]
    statistic, _, _ = statistics_of(lay_on_grid(years, replace(model, hinges=()).design(years), centred), noise, 2)
    best = int(np.argmax(np.where(allowed, statistic, -np.inf)))
    if not statistic[best] >= HINGE_LIMIT:
        return None
    return _described(years, values, replace(model, hinges=(float(cells[best]),)), noise, (statistic, best, grid.step_a))


def _described(
    years: Floats, values: Floats, model: TrajectoryModel, noise: NoiseModel, where: tuple[Floats, int, float]
) -> RateChange | None:
    """Size, interval and sigma of an accepted change; None where the widened sigma no longer supports it."""
    statistic, best, step_a = where
    bent = fit_trajectory(years, values, model, noise=noise)
    grid = search_grid(lay_on_grid(years, model.design(years), values - float(np.median(values))))
    change, sigma = bent.value_of("hinge_0"), bent.sigma_of("hinge_0")
    # The doubt about the noise is the rate's: both stand on its slowest part.
    sigma *= widening(degrees_of_freedom(grid, noise, model.names.index("rate")))
    if not sigma > 0.0 or (change / sigma) ** 2 < HINGE_LIMIT:
        return None
    low, high = interval_around(statistic, best)
    before = bent.value_of("rate")
    return RateChange(
        year=model.hinges[0],
        earliest=float(years[0] + low * step_a),
        latest=float(years[0] + high * step_a),
        change=change,
        sigma=sigma,
        lower=change - 1.96 * sigma,
        upper=change + 1.96 * sigma,
        rate_before=before,
        rate_after=before + change,
        score=(change / sigma) ** 2,
    )


def acceleration_of(years: Floats, values: Floats, fit: TrajectoryFit) -> tuple[float, float] | None:
    """Acceleration (unit / a^2) and its sigma under the noise of the trajectory; None for records under three years.

    The sigma is widened like the rate's.
    """
    if fit.model.acceleration or fit.model.hinges or years[-1] - years[0] < 3.0 or fit.noise.scale <= 0.0:
        return None
    model = replace(fit.model, acceleration=True)
    grid = lay_on_grid(years, model.design(years), values - float(np.median(values)))
    found = generalised_least_squares(grid, fit.noise)
    at = model.names.index("acceleration")
    return float(found.parameters[at]), float(found.sigmas[at] * (widening(fit.freedom) if np.isfinite(fit.freedom) else 1.0))
