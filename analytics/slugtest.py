"""Slug tests in partially penetrating wells, in confined and unconfined aquifers.

Times are days, lengths metres. The response is the Laplace solution with a uniform flux along the screen, inverted numerically. This
file finishes with `fit_slug`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import ArrayLike

from analytics.sampling import Floats
from analytics.welltest import least_squares

STEHFEST_TERMS = 10
GRID = 24


@dataclass(frozen=True)
class SlugWell:
    """Geometry of the well, metres.

    Attributes
    ----------
    screen_radius_m, casing_radius_m : float
    screen_m : float
        Length of the screen.
    aquifer_m : float
        Saturated thickness.
    top_m : float
        Depth of the top of the screen below the top of the aquifer (or the water table).
    unconfined : bool
        The top is a water table that holds its level, instead of a no-flow boundary.
    anisotropy : float
        Vertical over horizontal conductivity.
    """

    screen_radius_m: float
    casing_radius_m: float
    screen_m: float
    aquifer_m: float
    top_m: float = 0.0
    unconfined: bool = False
    anisotropy: float = 1.0


@dataclass(frozen=True)
class SlugTest:
    """Conductivity (m/d), specific storage (1/m), their sigmas, the displacement at the start (m) and the residual (m)."""

    conductivity_m_d: float
    conductivity_sigma_m_d: float
    specific_storage_per_m: float
    specific_storage_sigma_per_m: float
    displacement_m: float
    rmse_m: float
    n: int


@lru_cache(maxsize=4)
def stehfest_weights(terms: int) -> tuple[float, ...]:
    """Return Stehfest's weights for an even number of terms.

    References
    ----------
    Stehfest H. 1970, Commun. ACM 13, 47-49, doi:10.1145/361953.361969.

    Examples
    --------
    >>> [round(weight, 3) for weight in stehfest_weights(4)]
    [-2.0, 26.0, -48.0, 24.0]
    """
    half = terms // 2
    weights = []
    for i in range(1, terms + 1):
        total = 0.0
        for k in range((i + 1) // 2, min(i, half) + 1):
            total += (k**half * factorial(2 * k)) / (
                factorial(half - k) * factorial(k) * factorial(k - 1) * factorial(i - k) * factorial(2 * k - i)
            )
        weights.append((-1) ** (i + half) * total)
    return tuple(weights)


def slug_response(time_d: ArrayLike, well: SlugWell, conductivity_m_d: float, specific_storage_per_m: float) -> Floats:
    r"""Relative displacement H(t)/H0 in the well after a slug.

    .. math:: \bar H(p) = \frac{A\,G(p)}{1 + A\,p\,G(p)}, \quad A = \pi r_c^2, \quad
       G = \frac{1}{2\pi K L}\Bigl[\sum_n w_n\,\frac{K_0(\nu_n r_w)}{\nu_n r_w\,K_1(\nu_n r_w)}\Bigr], \quad
       \nu_n^2 = \frac{p\,S_s}{K} + \frac{K_z}{K}\,\lambda_n^2

    with the eigenvalues :math:`\lambda_n` of the vertical (n pi / B between no-flow boundaries, (n + 1/2) pi / B below a water table)
    and :math:`w_n` the weight of each in the mean over the screen; Stehfest's inversion.

    Parameters
    ----------
    time_d : array_like, shape (n,)
        Positive.
    well : SlugWell
    conductivity_m_d, specific_storage_per_m : float

    Returns
    -------
    ndarray, shape (n,)

    References
    ----------
    Hyder Z., Butler J.J., McElwee C.D., Liu W. 1994, Water Resour. Res. 30, 2945-2957, doi:10.1029/94WR01670; for a full screen Cooper H.H.,
    Bredehoeft J.D., Papadopulos I.S. 1967, Water Resour. Res. 3, 263-269, doi:10.1029/WR003i001p00263.

    Examples
    --------
    >>> full = SlugWell(0.1, 0.1, 10.0, 10.0)
    >>> slug_response([0.01], full, 0.1, 1e-4).round(3).tolist()
    [0.573]
    """
    from scipy.special import k0e, k1e

    time = np.atleast_1d(np.asarray(time_d, dtype=np.float64))
    eigenvalues, weights = _vertical_modes(well)
    terms = np.array(stehfest_weights(STEHFEST_TERMS))
    p = (np.log(2.0) / time)[:, None] * np.arange(1, STEHFEST_TERMS + 1)
    squared = p[:, :, None] * specific_storage_per_m / conductivity_m_d + well.anisotropy * eigenvalues**2
    x = np.sqrt(squared) * well.screen_radius_m
    radial = k0e(x) / (x * k1e(x))
    g = (radial @ weights) / (2.0 * np.pi * conductivity_m_d * well.screen_m)
    area = np.pi * well.casing_radius_m**2
    return np.asarray((np.log(2.0) / time) * ((area * g / (1.0 + area * p * g)) @ terms), dtype=np.float64)


def _vertical_modes(well: SlugWell) -> tuple[Floats, Floats]:
    """Eigenvalues of the vertical and the weight of each in the mean over the screen."""
    b, top, bottom = well.aquifer_m, well.top_m, well.top_m + well.screen_m
    count = int(np.clip(4.0 * b / well.screen_radius_m / np.pi, 8, 1500))
    if well.unconfined:
        eigenvalues = np.asarray((np.arange(count) + 0.5) * np.pi / b, dtype=np.float64)
        means = (np.cos(eigenvalues * top) - np.cos(eigenvalues * bottom)) / (eigenvalues * well.screen_m)
        return eigenvalues, np.asarray(2.0 * well.screen_m / b * means**2, dtype=np.float64)
    if well.screen_m >= b * (1.0 - 1e-9):
        return np.zeros(1), np.ones(1)
    eigenvalues = np.asarray(np.arange(count) * np.pi / b, dtype=np.float64)
    first = eigenvalues == 0.0
    means = (np.sin(eigenvalues * bottom) - np.sin(eigenvalues * top)) / np.where(first, 1.0, eigenvalues * well.screen_m)
    weights = np.asarray(2.0 * well.screen_m / b * means**2, dtype=np.float64)
    return eigenvalues, np.where(first, well.screen_m / b, weights)


def fit_slug(
    time_d: ArrayLike, displacement_m: ArrayLike, well: SlugWell, displacement_at_start_m: float | None = None
) -> SlugTest | None:
    """Fit conductivity and specific storage to a slug test.

    Parameters
    ----------
    time_d, displacement_m : array_like, shape (n,)
        Times since the slug, and what is left of it; samples at time 0 and NaN are left out.
    well : SlugWell
    displacement_at_start_m : float, optional
        H0; the first sample where it is not known.

    Returns
    -------
    SlugTest or None
        None with fewer than five samples or no displacement.

    References
    ----------
    Hyder et al. 1994, doi:10.1029/94WR01670.

    Examples
    --------
    >>> well = SlugWell(0.1, 0.05, 3.0, 20.0, top_m=5.0)
    >>> t = np.geomspace(1e-6, 1e-3, 25)
    >>> found = fit_slug(t, 0.5 * slug_response(t, well, 4.0, 1e-4), well, 0.5)
    >>> round(found.conductivity_m_d, 2)
    4.0
    """
    time, seen = np.asarray(time_d, dtype=np.float64), np.asarray(displacement_m, dtype=np.float64)
    known = np.isfinite(time) & np.isfinite(seen)
    time, seen = time[known], seen[known]
    start = displacement_at_start_m if displacement_at_start_m is not None else float(seen[0]) if seen.size else 0.0
    after = time > 0.0
    time, seen = time[after], seen[after]
    if time.size < 5 or start == 0.0:
        return None
    grid = np.geomspace(time.min(), time.max(), GRID)

    def residual(parameters: Floats) -> Floats:
        curve = slug_response(grid, well, float(np.exp(parameters[0])), float(np.exp(parameters[1])))
        return np.asarray(start * _smooth(np.log(grid), curve, np.log(time)) - seen)

    below = seen / start < 0.5
    half_d = float(time[below][0]) if below.any() else float(time.max())
    length = max(np.log(well.screen_m / well.screen_radius_m), 0.5)
    first = well.casing_radius_m**2 * length * np.log(2.0) / (2.0 * well.screen_m * half_d)
    values, sigmas, rmse = least_squares(residual, np.array([np.log(first), np.log(1e-4)]), step=1e-4, tolerance=1e-7)
    k, storage = float(np.exp(values[0])), float(np.exp(values[1]))
    return SlugTest(k, k * float(sigmas[0]), storage, storage * float(sigmas[1]), start, rmse, int(time.size))


def _smooth(x: Floats, y: Floats, at: Floats) -> Floats:
    """Cubic spline through the grid: the response is smooth in log time, and a few nodes carry it to 1e-4."""
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(x, y)(at), dtype=np.float64)
