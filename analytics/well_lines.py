"""Straight-line methods of well tests: Cooper-Jacob and Theis recovery, early data left out.

Times are days, lengths metres, discharge m3/d, drawdown positive. This file finishes with `fit_recovery`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.sampling import Floats
from analytics.welltest import LN10, ObservedDrawdown, WellTest, drawdown, least_squares, usable

EULER_GAMMA = 0.5772156649015329
SMALL_U = 0.01
"""Cooper and Jacob's limit: their logarithm is within 0.25 % of the well function below it."""
RESOLUTION = 1e-3
"""No drawdown is known to a smaller share of its range; a bend below that is no bend."""


@dataclass(frozen=True)
class StraightLine:
    """A straight line on semi-logarithmic paper.

    Attributes
    ----------
    per_log_cycle_m, per_log_cycle_sigma_m : float
        Metres a factor of ten.
    intercept_m : float
        At log10 = 0.
    used : ndarray of bool, shape (n,)
        Samples that the line rests on; the early ones are left out.
    rmse_m : float
    """

    per_log_cycle_m: float
    per_log_cycle_sigma_m: float
    intercept_m: float
    used: NDArray[np.bool_]
    rmse_m: float


def late_straight_line(log_time: Floats, value_m: Floats, is_late: NDArray[np.bool_], minimum: int = 5) -> StraightLine | None:
    """Straight line through the late samples of a test, early ones left out until what remains is straight.

    Samples are dropped from the early end, one at a time, while the line through the rest is bent: while a parabola is better by an
    F-test at 1 %.

    Parameters
    ----------
    log_time, value_m : ndarray, shape (n,)
        In order from early to late.
    is_late : ndarray of bool, shape (n,)
        Samples that may be used at all.
    minimum : int
        Fewest samples of a line.

    Returns
    -------
    StraightLine or None
        None where fewer than `minimum` samples are late, or nothing straight remains over 0.3 of a cycle.
    """
    from scipy.special import fdtrc

    index = np.flatnonzero(is_late & np.isfinite(log_time) & np.isfinite(value_m))
    while index.size >= minimum:
        x, y = log_time[index], value_m[index]
        line = np.polyfit(x, y, 1)
        straight = float(((y - np.polyval(line, x)) ** 2).sum())
        bent = float(((y - np.polyval(np.polyfit(x, y, 2), x)) ** 2).sum())
        freedom = index.size - 3
        noise = max(bent / freedom, (RESOLUTION * float(np.ptp(y))) ** 2, 1e-30)
        if np.ptp(x) < 0.3:
            return None
        if index.size == minimum or fdtrc(1, freedom, max(straight - bent, 0.0) / noise) > 0.01:
            used = np.zeros(log_time.size, dtype=bool)
            used[index] = True
            spread = float(((x - x.mean()) ** 2).sum())
            sigma = np.sqrt(straight / (index.size - 2) / spread)
            rmse = float(np.sqrt(straight / index.size))
            return StraightLine(float(line[0]), float(sigma), float(line[1]), used, rmse)
        index = index[1:]
    return None


def cooper_jacob(observed: ObservedDrawdown, discharge_m3_d: float) -> WellTest | None:
    r"""Straight-line method for the late drawdown.

    .. math:: T = \frac{2.303\,Q}{4\pi\,\Delta s}, \qquad S = \frac{2.25\,T\,t_0}{r^2}

    Only samples with :math:`u = r^2 S / 4 T t < 0.01` are used; T and S are found by repetition.

    Parameters
    ----------
    observed : ObservedDrawdown
    discharge_m3_d : float

    Returns
    -------
    WellTest or None
        None where fewer than five late samples lie on a line.

    References
    ----------
    Cooper H.H., Jacob C.E. 1946, Trans. AGU 27, 526-534, doi:10.1029/TR027i004p00526.

    Examples
    --------
    >>> t = np.geomspace(1e-3, 10.0, 60)
    >>> seen = ObservedDrawdown(t, drawdown(t, 10.0, 1000.0, 36.6, 1e-4), 10.0)
    >>> round(cooper_jacob(seen, 1000.0).transmissivity, 1)
    36.6
    """
    item = usable(observed)
    logs = np.log10(item.time_d)
    late = np.ones(logs.size, dtype=bool)
    result: WellTest | None = None
    for _ in range(20):
        line = late_straight_line(logs, item.drawdown_m, late)
        if line is None or line.per_log_cycle_m <= 0.0:
            return None
        transmissivity = LN10 * discharge_m3_d / (4.0 * np.pi * line.per_log_cycle_m)
        t0 = 10.0 ** (-line.intercept_m / line.per_log_cycle_m)
        storativity = 4.0 * np.exp(-EULER_GAMMA) * transmissivity * t0 / item.radius_m**2
        relative = line.per_log_cycle_sigma_m / line.per_log_cycle_m
        used = int(line.used.sum())
        result = WellTest(
            float(transmissivity), float(transmissivity * relative), float(storativity), np.nan, np.inf, np.nan, line.rmse_m,
            used, logs.size - used,
        )  # fmt: skip
        now_late = item.radius_m**2 * storativity / (4.0 * transmissivity * item.time_d) < SMALL_U
        if np.array_equal(now_late, late):
            break
        late = now_late
    return result


def recovery_line(
    since_stop_d: ArrayLike, residual_m: ArrayLike, pumped_d: float, discharge_m3_d: float, storage_over_d: float = 0.0
) -> WellTest | None:
    r"""Theis recovery: residual drawdown against log10(t / t').

    .. math:: T = \frac{2.303\,Q}{4\pi\,\Delta s'}

    with :math:`\Delta s'` the residual drawdown a log cycle of :math:`t/t'`, t since pumping began and t' since it stopped. The early
    part, where the well still fills (`storage_over_d`) or the line is bent, is left out.

    Parameters
    ----------
    since_stop_d : array_like, shape (n,)
        t', days, positive, ascending.
    residual_m : array_like, shape (n,)
        Drawdown that is left, m.
    pumped_d, discharge_m3_d : float
        How long and how much was pumped.
    storage_over_d : float
        Time after the stop until the storage of the well no longer matters.

    Returns
    -------
    WellTest or None
        Storativity is NaN: recovery of a pumped well gives none.

    References
    ----------
    Theis C.V. 1935, doi:10.1029/TR016i002p00519; Kruseman and de Ridder 1994, section 13.1.1.

    Examples
    --------
    >>> since = np.geomspace(1e-3, 5.0, 40)
    >>> residual = 5.0 * np.log10((10.0 + since) / since)
    >>> round(recovery_line(since, residual, 10.0, 1000.0).transmissivity, 1)
    36.6
    """
    since, residual = np.asarray(since_stop_d, dtype=np.float64), np.asarray(residual_m, dtype=np.float64)
    keep = (since > 0.0) & np.isfinite(residual)
    since, residual = since[keep], residual[keep]
    logs = np.log10((pumped_d + since) / since)
    line = late_straight_line(logs, residual, since >= storage_over_d)
    if line is None or line.per_log_cycle_m <= 0.0:
        return None
    transmissivity = LN10 * discharge_m3_d / (4.0 * np.pi * line.per_log_cycle_m)
    relative = line.per_log_cycle_sigma_m / line.per_log_cycle_m
    used = int(line.used.sum())
    return WellTest(
        transmissivity, transmissivity * relative, np.nan, np.nan, np.inf, np.nan, line.rmse_m, used, since.size - used
    )


def fit_recovery(
    observed: ObservedDrawdown, discharge_m3_d: float, stop_d: float, storage_over_d: float = 0.0, storativity: float = 1e-4
) -> WellTest | None:
    r"""Theis with a skin fitted to the drawdown and recovery of a pumped well.

    .. math:: s = \frac{Q}{4\pi T}\,[W(u) - W(u')] + Q\,w\,[t \le t_{stop}]

    Parameters
    ----------
    observed : ObservedDrawdown
        `radius_m` is the radius of the well.
    discharge_m3_d : float
    stop_d : float
        When pumping stopped.
    storage_over_d : float
        Samples this soon after the start and after the stop are left out: there the well empties and fills.
    storativity : float
        Taken as known: in the pumped well itself it cannot be told from the skin, which takes up any error of it.

    Returns
    -------
    WellTest or None

    References
    ----------
    Kruseman and de Ridder 1994, section 13.1; Agarwal R.G. et al. 1970, doi:10.2118/2466-PA (skin and wellbore storage).

    Examples
    --------
    >>> t = np.linspace(0.001, 0.05, 40)
    >>> s = drawdown(t, 0.15, 1800.0, 1300.0, 1e-4, stop_d=0.02) + np.where(t <= 0.02, 1.2, 0.0)
    >>> round(fit_recovery(ObservedDrawdown(t, s, 0.15), 1800.0, 0.02).transmissivity)
    1300
    """
    item = usable(observed)
    pumping = item.time_d <= stop_d
    since = np.where(pumping, item.time_d, item.time_d - stop_d)
    keep = since >= storage_over_d
    used = ObservedDrawdown(item.time_d[keep], item.drawdown_m[keep], item.radius_m)
    on = used.time_d <= stop_d
    if used.time_d.size < 5 or not on.any() or on.all():
        return None
    line = recovery_line(used.time_d[~on] - stop_d, used.drawdown_m[~on], stop_d, discharge_m3_d)
    first = (
        line.transmissivity if line is not None else discharge_m3_d / (4.0 * np.pi) / max(float(np.ptp(used.drawdown_m)), 1e-3)
    )

    def residual(parameters: Floats) -> Floats:
        shape = drawdown(used.time_d, used.radius_m, discharge_m3_d, float(np.exp(parameters[0])), storativity, stop_d=stop_d)
        return np.asarray(shape + np.where(on, parameters[1], 0.0) - used.drawdown_m)

    values, sigmas, rmse = least_squares(residual, np.array([np.log(first), 0.0]))
    left_out = item.time_d.size - used.time_d.size
    return WellTest(
        float(np.exp(values[0])), float(np.exp(values[0]) * sigmas[0]), np.nan, np.nan, np.inf, np.nan, rmse,
        used.time_d.size, left_out, float(values[1]) / discharge_m3_d,
    )  # fmt: skip
