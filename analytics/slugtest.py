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
GRID = 16


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
    """What a slug test tells.

    Attributes
    ----------
    conductivity_m_d, specific_storage_per_m : float
        With their sigmas, m/d and 1/m.
    displacement_m, rmse_m : float
        Displacement at the start, and the residual.
    early_d : float
        By how much the slug fell before the clock's zero.
    """

    conductivity_m_d: float
    conductivity_sigma_m_d: float
    specific_storage_per_m: float
    specific_storage_sigma_per_m: float
    displacement_m: float
    rmse_m: float
    n: int
    early_d: float = 0.0


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
    eigenvalues, weights, tail = _vertical_modes(well)
    terms = np.array(stehfest_weights(STEHFEST_TERMS))
    p = (np.log(2.0) / time)[:, None] * np.arange(1, STEHFEST_TERMS + 1)
    squared = p[:, :, None] * specific_storage_per_m / conductivity_m_d + well.anisotropy * eigenvalues**2
    x = np.sqrt(squared) * well.screen_radius_m
    radial = k0e(x) / (x * k1e(x))
    g = (radial @ weights + tail) / (2.0 * np.pi * conductivity_m_d * well.screen_m)
    area = np.pi * well.casing_radius_m**2
    return np.asarray((np.log(2.0) / time) * ((area * g / (1.0 + area * p * g)) @ terms), dtype=np.float64)


def _vertical_modes(well: SlugWell) -> tuple[Floats, Floats, float]:
    r"""Eigenvalues of the vertical, the weight of each in the mean over the screen, and what all beyond them add.

    High modes decay within the screen's radius: :math:`K_0(x) / (x K_1(x)) \to 1/x - 1/(2x^2)`, and their weights are
    :math:`2 / (B L \lambda^2)` in the mean, so that their sum is an integral.
    """
    b, top, bottom = well.aquifer_m, well.top_m, well.top_m + well.screen_m
    if not well.unconfined and well.screen_m >= b * (1.0 - 1e-9):
        return np.zeros(1), np.ones(1), 0.0
    count = int(np.clip(2.0 * b / well.screen_radius_m / np.pi, 8, 1500))
    if well.unconfined:
        eigenvalues = np.asarray((np.arange(count) + 0.5) * np.pi / b, dtype=np.float64)
        means = (np.cos(eigenvalues * top) - np.cos(eigenvalues * bottom)) / (eigenvalues * well.screen_m)
        weights = np.asarray(2.0 * well.screen_m / b * means**2, dtype=np.float64)
    else:
        eigenvalues = np.asarray(np.arange(count) * np.pi / b, dtype=np.float64)
        first = eigenvalues == 0.0
        means = (np.sin(eigenvalues * bottom) - np.sin(eigenvalues * top)) / np.where(first, 1.0, eigenvalues * well.screen_m)
        weights = np.where(first, well.screen_m / b, 2.0 * well.screen_m / b * means**2)
    edge = float(eigenvalues[-1]) + 0.5 * np.pi / b
    thin = np.sqrt(well.anisotropy) * well.screen_radius_m
    tail = (1.0 - 1.0 / (3.0 * thin * edge)) / (np.pi * well.screen_m * thin * edge**2)
    return eigenvalues, weights, tail


def fit_slug(
    time_d: ArrayLike,
    displacement_m: ArrayLike,
    well: SlugWell,
    displacement_at_start_m: float | None = None,
    clock_d: float = 0.0,
) -> SlugTest | None:
    """Fit conductivity and specific storage to a slug test.

    Parameters
    ----------
    time_d, displacement_m : array_like, shape (n,)
        Times since the slug, and what is left of it; samples at time 0 and NaN are left out.
    well : SlugWell
    displacement_at_start_m : float, optional
        H0; the first sample where it is not known.
    clock_d : float
        Interval of a logger that runs on by itself: the slug fell up to so much before the time that it calls 0, and what fits best in
        that span is taken. The storage of a quick test hangs on its first tenths of a second. 0 = the start was observed.

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
    starts = [0.0, 0.5 * clock_d, clock_d] if clock_d > 0.0 else [0.0]
    fits = [_fit_from(time, seen, well, start)]
    for early in starts[1:]:
        fits.append(_fit_from(time + early, seen, well, start, fits[-1][0]))
    best = int(np.argmin([rmse for _, _, rmse in fits]))
    values, sigmas, rmse = fits[best]
    k, storage = float(np.exp(values[0])), float(np.exp(values[1]))
    return SlugTest(k, k * float(sigmas[0]), storage, storage * float(sigmas[1]), start, rmse, int(time.size), starts[best])


def _fit_from(
    time: Floats, seen: Floats, well: SlugWell, start: float, first: Floats | None = None
) -> tuple[Floats, Floats, float]:
    """Logarithms of conductivity and storage with their sigmas, and the residual; `first` is where the search begins."""
    grid = np.geomspace(time.min(), time.max(), GRID)

    def residual(parameters: Floats) -> Floats:
        curve = slug_response(grid, well, float(np.exp(parameters[0])), float(np.exp(parameters[1])))
        return np.asarray(start * _smooth(np.log(grid), curve, np.log(time)) - seen)

    if first is None:
        first = np.log([_hvorslev(time, seen / start, well), 1e-4])
    return least_squares(residual, first, step=1e-4, tolerance=1e-7)


def _hvorslev(time: Floats, left: Floats, well: SlugWell) -> float:
    """A first conductivity from the time in which half of the slug is gone."""
    below = left < 0.5
    half_d = float(time[below][0]) if below.any() else float(time.max())
    length = max(np.log(well.screen_m / well.screen_radius_m), 0.5)
    return float(well.casing_radius_m**2 * length * np.log(2.0) / (2.0 * well.screen_m * half_d))


def _smooth(x: Floats, y: Floats, at: Floats) -> Floats:
    """Cubic spline through the grid: the response is smooth in log time, and a few nodes carry it to 2e-4, as far as the inversion goes."""
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(x, y)(at), dtype=np.float64)
