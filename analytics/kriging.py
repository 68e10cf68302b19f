"""Ordinary kriging with a fitted variogram, the sigmas of the data and a local neighbourhood.

Coordinates are metres in a local plane. This file finishes with `krige`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.sampling import Floats

METRES_PER_DEGREE = 111_319.49079327358
"""Of the equator of the CGCS2000 ellipsoid (a = 6,378,137 m)."""
ECCENTRICITY_SQUARED = 0.006694380022903416
BLOCK = 2048


def local_metres(longitude_deg: ArrayLike, latitude_deg: ArrayLike, origin: tuple[float, float]) -> Floats:
    """Metres east and north of an origin, by the radii of curvature there.

    Parameters
    ----------
    longitude_deg, latitude_deg : array_like, shape (n,)
        CGCS2000.
    origin : (float, float)
        Longitude and latitude, degrees.

    Returns
    -------
    ndarray, shape (n, 2)
        Good to 1e-4 of the distance within 50 km.

    Examples
    --------
    >>> local_metres([120.76], [30.67], (120.75, 30.66)).round(0).tolist()
    [[958.0, 1109.0]]
    """
    latitude = np.radians(origin[1])
    w2 = 1.0 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    east = METRES_PER_DEGREE * np.cos(latitude) / np.sqrt(w2)
    north = METRES_PER_DEGREE * (1.0 - ECCENTRICITY_SQUARED) / w2**1.5
    x = (np.asarray(longitude_deg, dtype=np.float64) - origin[0]) * east
    return np.stack([x, (np.asarray(latitude_deg, dtype=np.float64) - origin[1]) * north], axis=-1)


AT_RANGE = {0.5: 2.995732273553991, 1.5: 4.7438645183905335, 2.5: 5.918649346310187}
"""For each smoothness the scaled distance at which 5 % of the correlation is left: the effective range."""


@dataclass(frozen=True)
class Variogram:
    """Matern variogram: gamma(h) = nugget + sill (1 - rho(h)); unit squared, and metres.

    `range_m` is where 5 % of the correlation is left. With d = |h| scaled, rho is exp(-d) for a smoothness of 0.5 (exponential, a rough
    surface), (1 + d) exp(-d) for 1.5 (a surface with slopes) and (1 + d + d^2 / 3) exp(-d) for 2.5 (with curvature).
    """

    nugget: float
    sill: float
    range_m: float
    smoothness: float = 0.5

    def covariance(self, distance_m: Floats) -> Floats:
        """Covariance of the smooth part; the nugget belongs to the single datum."""
        d = AT_RANGE[self.smoothness] * distance_m / self.range_m
        shape = np.ones_like(d)
        if self.smoothness > 0.5:
            shape += d
        if self.smoothness > 1.5:
            shape += d**2 / 3.0
        return np.asarray(self.sill * shape * np.exp(-d), dtype=np.float64)


def fit_variogram(points_m: Floats, values: Floats, sigma: Floats | None = None, bins: int = 12) -> Variogram:
    r"""Variogram by Cressie and Hawkins' robust estimator and weighted least squares.

    .. math:: 2\hat\gamma(h) = \Bigl(\overline{|z_i - z_j|^{1/2}}\Bigr)^4 \Big/ \Bigl(0.457 + \frac{0.494}{N_h}\Bigr)

    Parameters
    ----------
    points_m : ndarray, shape (n, 2)
    values : ndarray, shape (n,)
    sigma : ndarray, shape (n,), optional
        Known errors of the data: their variance is taken off the nugget.
    bins : int
        Distances up to half the largest one are put into so many classes.

    Returns
    -------
    Variogram
        With fewer than five points, or values that do not vary, the sample variance over half the extent.

    References
    ----------
    Cressie N., Hawkins D.M. 1980, Math. Geol. 12, 115-125, doi:10.1007/BF01035243; Cressie N. 1985, doi:10.1007/BF01032109 (weights).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> points = rng.uniform(0, 10_000, (200, 2))
    >>> found = fit_variogram(points, np.sin(points[:, 0] / 2_000) * 5)
    >>> found.nugget < 2.0 and found.sill > 5.0
    True
    """
    from scipy.optimize import nnls
    from scipy.spatial.distance import pdist

    if len(values) < 5 or float(np.ptp(values)) == 0.0:
        extent = float(np.ptp(points_m, axis=0).max()) if len(values) else 0.0
        return Variogram(0.0, float(np.var(values)) if len(values) else 0.0, max(extent / 2.0, 1.0))
    keep = slice(None) if len(values) <= 1500 else slice(None, None, len(values) // 1500 + 1)
    distance, difference = pdist(points_m[keep]), pdist(values[keep, None], "cityblock")
    edges = np.linspace(0.0, float(distance.max()) / 2.0, bins + 1)
    which = np.digitize(distance, edges) - 1
    inside = (which >= 0) & (which < bins)
    count = np.bincount(which[inside], minlength=bins)
    filled = count > 0
    root = np.bincount(which[inside], np.sqrt(difference[inside]), bins)[filled] / count[filled]
    lag = np.bincount(which[inside], distance[inside], bins)[filled] / count[filled]
    gamma = root**4 / (0.457 + 0.494 / count[filled]) / 2.0
    weight = np.sqrt(count[filled]) / np.maximum(gamma, 1e-12 + 1e-3 * gamma.max())
    best: tuple[float, Variogram] | None = None
    for range_m in np.geomspace(max(edges[1], 1.0), edges[-1] * 3.0, 40):
        shape = np.column_stack([np.ones(lag.size), 1.0 - np.exp(-AT_RANGE[0.5] * lag / range_m)])
        found, misfit = nnls(shape * weight[:, None], gamma * weight)
        if best is None or misfit < best[0]:
            best = (float(misfit), Variogram(float(found[0]), float(found[1]), float(range_m)))
    assert best is not None
    known = 0.0 if sigma is None or np.isnan(sigma).all() else float(np.nanmean(np.square(sigma)))
    return Variogram(max(best[1].nugget - known, 0.0), best[1].sill, best[1].range_m)


@dataclass(frozen=True)
class Surface:
    """Kriged values and their standard deviations at the targets, each of shape (m,)."""

    value: Floats
    sigma: Floats


def krige(
    points_m: Floats,
    values: Floats,
    targets_m: Floats,
    variogram: Variogram,
    sigma: Floats | None = None,
    neighbours: int = 24,
) -> Surface:
    r"""Ordinary kriging of the smooth part from the nearest data.

    .. math:: \begin{pmatrix} C + D & 1 \\ 1^T & 0 \end{pmatrix} \begin{pmatrix} w \\ \mu \end{pmatrix}
       = \begin{pmatrix} c_0 \\ 1 \end{pmatrix}, \qquad
       \hat z = w^T z, \qquad \sigma^2 = C(0) - w^T c_0 - \mu

    with D the nugget and the variance of each datum: the surface smooths errors instead of running through them.

    Parameters
    ----------
    points_m : ndarray, shape (n, 2)
    values : ndarray, shape (n,)
    targets_m : ndarray, shape (m, 2)
    variogram : Variogram
    sigma : ndarray, shape (n,), optional
        One standard deviation of each datum; NaN = unknown, taken as the median of the others.
    neighbours : int
        Data that each target uses.

    Returns
    -------
    Surface

    Raises
    ------
    ValueError
        Without data.

    References
    ----------
    Chiles J.-P., Delfiner P. 2012, Geostatistics, 2nd ed., section 3.4, doi:10.1002/9781118136188.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [1000.0, 0.0], [0.0, 1000.0]])
    >>> found = krige(points, np.array([-10.0, -20.0, -15.0]), points[:1], Variogram(0.0, 25.0, 3000.0))
    >>> found.value.round(3).tolist(), bool(found.sigma[0] < 0.01)
    ([-10.0], True)
    """
    from scipy.spatial import cKDTree

    n = len(values)
    if n == 0:
        raise ValueError("kriging needs at least one datum")
    noise = np.full(n, variogram.nugget)
    if sigma is not None and np.isfinite(sigma).any():
        noise = noise + np.where(np.isfinite(sigma), sigma, np.nanmedian(sigma)) ** 2
    noise = noise + 1e-9 * max(variogram.sill, 1e-12)
    near = np.asarray(cKDTree(points_m).query(targets_m, k=min(neighbours, n))[1]).reshape(len(targets_m), -1)
    value, error = np.empty(len(targets_m)), np.empty(len(targets_m))
    for start in range(0, len(targets_m), BLOCK):
        block = slice(start, start + BLOCK)
        value[block], error[block] = _solve(points_m, values, noise, targets_m[block], near[block], variogram)
    return Surface(value, error)


def _solve(
    points: Floats, values: Floats, noise: Floats, targets: Floats, near: NDArray[np.int64], variogram: Variogram
) -> tuple[Floats, Floats]:
    chosen = points[near]
    k = near.shape[1]
    system = np.zeros((len(targets), k + 1, k + 1))
    gap = chosen[:, :, None, :] - chosen[:, None, :, :]
    system[:, :k, :k] = variogram.covariance(np.sqrt((gap**2).sum(axis=-1)))
    diagonal = np.arange(k)
    system[:, diagonal, diagonal] += noise[near]
    system[:, :k, k] = system[:, k, :k] = 1.0
    right = np.ones((len(targets), k + 1))
    right[:, :k] = variogram.covariance(np.sqrt(((chosen - targets[:, None, :]) ** 2).sum(axis=-1)))
    weights = np.linalg.solve(system, right[..., None])[..., 0]
    variance = variogram.sill - (weights * right).sum(axis=1)
    return np.asarray((weights[:, :k] * values[near]).sum(axis=1)), np.sqrt(np.maximum(variance, 0.0))
