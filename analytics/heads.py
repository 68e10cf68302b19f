"""Heads as the response to rain and evaporation: a transfer function with a gamma response and AR noise.

Stresses are daily amounts in metres, heads metres; the head's own dates may be irregular. The fit minimises the innovations of the
noise, so that the sigmas and the bands are those of coloured noise. This file finishes with `fit_heads`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats, Times

PARAMETERS = ("gain_d", "shape", "scale_d", "evaporation_factor", "base_m", "noise_decay_d")
MINIMUM_HEADS = 40


def gamma_block_response(gain_d: float, shape: float, scale_d: float, tolerance: float = 0.9995) -> Floats:
    r"""Response of the head to a day of recharge: steps of the incomplete gamma function.

    .. math:: s(t) = A\,P(n, t/a), \qquad b_k = s(k) - s(k - 1)

    Parameters
    ----------
    gain_d : float
        A, metres of head for a steady metre a day, d.
    shape, scale_d : float
        n and a (d).
    tolerance : float
        Share of the response after which it is cut.

    Returns
    -------
    ndarray, shape (m,)
        Block response of days 1..m.

    References
    ----------
    Besbes M., de Marsily G. 1984, J. Hydrol. 74, 271-293, doi:10.1016/0022-1694(84)90019-2; Collenteur R.A. et al. 2019, Groundwater 57,
    877-885, doi:10.1111/gwat.12925.

    Examples
    --------
    >>> gamma_block_response(100.0, 1.0, 10.0)[:2].round(3).tolist()
    [9.516, 8.611]
    """
    from scipy.special import gammainc, gammaincinv

    last = int(np.clip(np.ceil(scale_d * float(gammaincinv(shape, tolerance))), 1, 20_000))
    return np.asarray(np.diff(gain_d * gammainc(shape, np.arange(last + 1) / scale_d)), dtype=np.float64)


@dataclass(frozen=True)
class HeadModel:
    """A fitted head model.

    Attributes
    ----------
    values, sigmas : ndarray, shape (6,)
        In the order of `PARAMETERS`.
    residual, innovation : ndarray, shape (n,)
        Head minus simulation, and what the AR model does not explain of it, at the heads that took part.
    explained_variance : float
        100 (1 - var(residual) / var(head)), per cent.
    rmse_m : float
    noise_sigma_m : float
        Standard deviation of the residual noise.
    used : ndarray of bool, shape (n,)
        Heads whose whole stress history is known.
    simulated : ndarray, shape (days,)
        The model on every day of the stresses.
    covariance : ndarray, shape (6, 6)
        Of gain, shape and scale as logarithms, the factor, the base and the logarithm of the decay.
    """

    values: Floats
    sigmas: Floats
    residual: Floats
    innovation: Floats
    explained_variance: float
    rmse_m: float
    noise_sigma_m: float
    used: NDArray[np.bool_]
    simulated: Floats
    covariance: Floats

    def interval(self, level: float = 0.95) -> float:
        """Half-width of the interval of a single observed head around the simulation, m."""
        from scipy.special import ndtri

        return float(ndtri(0.5 + level / 2.0)) * self.noise_sigma_m


def simulate(rain_m: Floats, evaporation_m: Floats, values: Floats) -> Floats:
    r"""Heads on every day of the stresses.

    .. math:: h(t_i) = d + \sum_k b_k\,(P_{i-k+1} + f\,E_{i-k+1})

    Parameters
    ----------
    rain_m, evaporation_m : ndarray, shape (days,)
        Daily amounts without gaps.
    values : ndarray, shape (6,)
        In the order of `PARAMETERS`; the evaporation factor is negative.

    Returns
    -------
    ndarray, shape (days,)
        The response to what came before the first day is that to the mean of all days.
    """
    from scipy.signal import fftconvolve

    block = gamma_block_response(values[0], values[1], values[2])
    recharge = rain_m + values[3] * evaporation_m
    # What lies before the record is unknown: its mean stands for it, so that the start is no step.
    padded = np.concatenate((np.full(block.size, recharge.mean()), recharge))
    return np.asarray(values[4] + fftconvolve(padded, block)[block.size : block.size + recharge.size], dtype=np.float64)


def fit_heads(
    head: tuple[Times, Floats], days: Times, rain_m: Floats, evaporation_m: Floats, warm_up_d: int = 365
) -> HeadModel | None:
    r"""Fit the response of a head to rain and evaporation.

    The residuals :math:`n_i` follow an AR(1) process in continuous time with decay :math:`\alpha`; minimised are its weighted innovations

    .. math:: v_i = \frac{n_i - e^{-\Delta t_i/\alpha}\,n_{i-1}}{\sqrt{1 - e^{-2\Delta t_i/\alpha}}}\,
        \prod_j \bigl(1 - e^{-2\Delta t_j/\alpha}\bigr)^{1/2N}

    whose sum of squares is, but for a constant, the likelihood.

    Parameters
    ----------
    head : (times, values)
        Ascending, finite; m.
    days : ndarray of datetime64, shape (d,)
        Consecutive days of the stresses.
    rain_m, evaporation_m : ndarray, shape (d,)
        m/d, finite.
    warm_up_d : int
        Heads of the first days, whose stress history is unknown, take no part.

    Returns
    -------
    HeadModel or None
        None with fewer than 40 heads, or heads that do not vary.

    Raises
    ------
    ValueError
        Stresses that are not consecutive days: a gap in the rain cannot be bridged silently.

    Notes
    -----
    Gaps in the heads stay gaps: the noise model takes the time between neighbours as it is.

    References
    ----------
    von Asmuth J.R., Bierkens M.F.P. 2005, Water Resour. Res. 41, W12404, doi:10.1029/2004WR003453; Collenteur et al. 2019,
    doi:10.1111/gwat.12925.
    """
    from scipy.optimize import least_squares

    day = days.astype("datetime64[D]")
    if day.size < 2 or not (np.diff(day) == np.timedelta64(1, "D")).all():
        raise ValueError("stresses must be given for consecutive days without a gap")
    index = (head[0].astype("datetime64[D]") - day[0]).astype(np.int64)
    used = (index >= warm_up_d) & (index < day.size)
    where, observed = index[used], head[1][used]
    if observed.size < MINIMUM_HEADS or float(np.ptp(observed)) == 0.0:
        return None
    spans = np.diff(np.asarray(head[0][used].astype("datetime64[us]").astype(np.float64) / 86400e6))
    spans = np.maximum(spans, 1e-3)

    def expand(free: Floats) -> Floats:
        return np.array([*np.exp(free[:3]), free[3], free[4], np.exp(free[5])])

    def innovations(free: Floats) -> Floats:
        values = expand(free)
        residual = observed - simulate(rain_m, evaporation_m, values)[where]
        return _whitened(residual, spans, float(values[5]))

    start = np.array([0.0, np.log(1.0), np.log(100.0), -1.0, 0.0, np.log(max(2.0 * float(np.median(spans)), 5.0))])
    start[0], start[4] = _start_gain(rain_m, evaporation_m, observed, where)
    lowest = np.array([np.log(1e-2), np.log(0.1), np.log(0.1), -5.0, -np.inf, np.log(0.1)])
    highest = np.array([np.log(1e6), np.log(20.0), np.log(5000.0), 0.5, np.inf, np.log(5000.0)])
    found = least_squares(innovations, np.clip(start, lowest, highest), bounds=(lowest, highest), x_scale="jac", diff_step=1e-5)
    values = expand(found.x)
    simulated = simulate(rain_m, evaporation_m, values)
    residual = observed - simulated[where]
    freedom = max(observed.size - 6, 1)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * float(found.fun @ found.fun) / freedom
    scale = np.array([values[0], values[1], values[2], 1.0, 1.0, values[5]])
    return HeadModel(
        values,
        np.sqrt(np.maximum(np.diag(covariance), 0.0)) * scale,
        residual,
        found.fun,
        float(100.0 * (1.0 - residual.var() / observed.var())),
        float(np.sqrt(np.mean(residual**2))),
        float(residual.std(ddof=min(6, residual.size - 1))),
        used,
        simulated,
        np.asarray(covariance, dtype=np.float64),
    )


def _whitened(residual: Floats, spans: Floats, decay_d: float) -> Floats:
    memory = np.exp(-spans / decay_d)
    variance = -np.expm1(-2.0 * spans / decay_d)
    innovation = np.concatenate(([residual[0]], (residual[1:] - memory * residual[:-1]) / np.sqrt(variance)))
    return np.asarray(innovation * np.exp(np.log(variance).sum() / (2.0 * residual.size)), dtype=np.float64)


def _start_gain(rain_m: Floats, evaporation_m: Floats, observed: Floats, where: NDArray[np.int64]) -> tuple[float, float]:
    """Logarithm of the gain and the base that a response of middling speed asks for."""
    shape = simulate(rain_m, evaporation_m, np.array([1.0, 1.0, 100.0, -1.0, 0.0, 1.0]))[where]
    spread = float(((shape - shape.mean()) ** 2).sum())
    slope = float((shape - shape.mean()) @ (observed - observed.mean())) / spread if spread > 0.0 else 100.0
    gain = max(slope, 1.0)
    return float(np.log(gain)), float(observed.mean() - gain * shape.mean())
