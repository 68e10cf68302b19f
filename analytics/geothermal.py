"""Geothermal wells: thermal density, static levels, temperature at equal flow, quota and reinjection.

Levels are metres, temperatures degrees Celsius, flows m3/h, volumes m3. What is not known is None or NaN, never zero. This file finishes
with `reinjection_ratio`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.sampling import SECONDS_PER_YEAR, Floats, Times

SECONDS_PER_MONTH = SECONDS_PER_YEAR / 12.0


def water_density_kg_m3(temperature_degC: ArrayLike) -> Floats:
    r"""Density of air-free water at 1 atm.

    .. math:: \rho = \frac{999.83952 + 16.945176\,t - 7.9870401\cdot10^{-3}t^2 - 46.170461\cdot10^{-6}t^3
       + 105.56302\cdot10^{-9}t^4 - 280.54253\cdot10^{-12}t^5}{1 + 16.879850\cdot10^{-3}\,t}

    Parameters
    ----------
    temperature_degC : array_like
        0 to 150.

    Returns
    -------
    ndarray
        kg/m3; NaN outside the range of the equation.

    References
    ----------
    Kell G.S. 1975, J. Chem. Eng. Data 20, 97-105, doi:10.1021/je60064a005.

    Examples
    --------
    >>> water_density_kg_m3([25.0, 64.0]).round(2).tolist()
    [997.04, 981.1]
    """
    t = np.asarray(temperature_degC, dtype=np.float64)
    coefficients = [-280.54253e-12, 105.56302e-9, -46.170461e-6, -7.9870401e-3, 16.945176, 999.83952]
    density = np.polyval(coefficients, t) / (1.0 + 16.879850e-3 * t)
    return np.asarray(np.where((t >= 0.0) & (t <= 150.0), density, np.nan), dtype=np.float64)


def thermal_rise_m(column_m: float, temperature_degC: ArrayLike, reference_degC: float) -> Floats:
    r"""Rise of a level because its column is warmer than at the reference, at the same pressure below.

    .. math:: \Delta h = L\,\left(\frac{\rho(T_{ref})}{\rho(T)} - 1\right)

    Parameters
    ----------
    column_m : float
        Length of the water column above the feed zone, m, at the reference temperature.
    temperature_degC : array_like
        Mean temperature of the column.
    reference_degC : float
        Temperature to which levels are reduced.

    Returns
    -------
    ndarray
        Metres, up positive: to be taken off a level (or added to a depth to water).

    References
    ----------
    Kell 1975, doi:10.1021/je60064a005; DB12/T 1053-2021 asks for the liquid-surface temperature with each level.

    Examples
    --------
    >>> thermal_rise_m(1500.0, [64.0], 50.0).round(1).tolist()
    [10.6]
    """
    warm, cold = water_density_kg_m3(temperature_degC), water_density_kg_m3([reference_degC])[0]
    return np.asarray(column_m * (cold / warm - 1.0), dtype=np.float64)


def is_shut_in(
    time: Times, flow_time: Times, flow_m3_h: Floats, quiet_h: float = 12.0, still_m3_h: float = 0.05, longest_gap_h: float = 6.0
) -> NDArray[np.bool_]:
    """Return which samples are static: the flow was known to be nought for `quiet_h` before.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        Times of the levels.
    flow_time, flow_m3_h : ndarray, shape (m,)
        Ascending; NaN = unknown.
    quiet_h : float
        Hours of shut-in before a level is static.
    still_m3_h : float
        Flow up to which a meter that stands still reads.
    longest_gap_h : float
        Where the meter was silent for longer the flow is unknown and no level is static.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> flow_time = np.datetime64("2024-01-01", "us") + np.arange(48) * np.timedelta64(1, "h")
    >>> flow = np.where(np.arange(48) < 24, 20.0, 0.0)
    >>> is_shut_in(flow_time[[10, 30, 40]], flow_time, flow).tolist()
    [False, False, True]
    """
    if not len(flow_time):
        return np.zeros(len(time), dtype=bool)
    seconds = flow_time.astype("datetime64[us]").astype(np.float64) * 1e-6
    running = ~(np.abs(flow_m3_h) <= still_m3_h)
    silent = np.concatenate((np.diff(seconds) > longest_gap_h * 3600.0, [True]))
    # The flow of a sample is believed until the next one; where the meter falls silent, until the gap is too long.
    bad_until = np.where(running, seconds, -np.inf)
    bad_until = np.maximum.accumulate(bad_until)
    gap_end = np.where(silent[:-1], seconds[1:], -np.inf) if seconds.size > 1 else np.zeros(0)
    last_gap = np.maximum.accumulate(np.concatenate(([seconds[0]], gap_end)))
    at = time.astype("datetime64[us]").astype(np.float64) * 1e-6
    index = np.searchsorted(seconds, at, side="right") - 1
    known = (index >= 0) & (at - seconds[np.maximum(index, 0)] <= longest_gap_h * 3600.0)
    since = at - np.maximum(bad_until, last_gap)[np.maximum(index, 0)]
    return np.asarray(known & (since >= quiet_h * 3600.0))


def is_equal_flow(
    time: Times, flow_time: Times, flow_m3_h: Floats, band: float = 0.15, minimum_run_min: float = 30.0
) -> tuple[NDArray[np.bool_], float]:
    """Return which samples were taken at the usual flow, after at least half an hour of it, and that flow.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        Times of the temperatures.
    flow_time, flow_m3_h : ndarray, shape (m,)
        Ascending; NaN = unknown.
    band : float
        Share by which the flow may differ from the usual one: the median of the flow while it runs.
    minimum_run_min : float
        Minutes of steady flow before: the first water is that of the casing.

    Returns
    -------
    mask : ndarray of bool, shape (n,)
    flow : float
        m3/h; NaN where the well never ran.

    Examples
    --------
    >>> t = np.datetime64("2024-01-01", "us") + np.arange(6) * np.timedelta64(1, "h")
    >>> mask, flow = is_equal_flow(t, t, np.array([60.0, 60.0, 60.0, 10.0, 60.0, 60.0]))
    >>> mask.tolist(), flow
    ([False, True, True, False, False, True], 60.0)
    """
    running = flow_m3_h[np.isfinite(flow_m3_h) & (flow_m3_h > 0.05)]
    if not running.size:
        return np.zeros(len(time), dtype=bool), float("nan")
    usual = float(np.median(running))
    seconds = flow_time.astype("datetime64[us]").astype(np.float64) * 1e-6
    steady = np.abs(flow_m3_h - usual) <= band * usual
    last_other = np.maximum.accumulate(np.where(steady, -np.inf, seconds))
    first_steady = np.where(np.isfinite(last_other), np.nan, seconds[0])
    for k in np.flatnonzero(steady & ~np.isfinite(first_steady)):
        first_steady[k] = first_steady[k - 1] if steady[k - 1] else seconds[k]
    at = time.astype("datetime64[us]").astype(np.float64) * 1e-6
    index = np.searchsorted(seconds, at, side="right") - 1
    ok = (index >= 0) & steady[np.maximum(index, 0)]
    run_s = at - first_steady[np.maximum(index, 0)]
    return np.asarray(ok & (run_s >= minimum_run_min * 60.0)), usual


@dataclass(frozen=True)
class Trend:
    """Rate a year with its sigma, the two-sided p-value that there is none, and what it rests on."""

    rate_per_a: float
    sigma_per_a: float
    p_value: float
    n: int
    span_a: float


def monthly_trend(time: Times, value: Floats, minimum_months: int = 8) -> Trend | None:
    r"""Trend of monthly medians with a p-value that knows of their autocorrelation.

    .. math:: T(t) = a + b\,t, \qquad \sigma_b^2 = \sigma_{ols}^2\,\frac{1 + \varphi}{1 - \varphi}, \qquad t = b / \sigma_b

    Parameters
    ----------
    time, value : ndarray, shape (n,)
        Ascending; finite.
    minimum_months : int
        Months with samples that a trend needs.

    Returns
    -------
    Trend or None
        The p-value is that of Student's t with the months reduced by :math:`(1 - \varphi)/(1 + \varphi)`.

    Notes
    -----
    Gaps: months without samples are left out, none is filled.

    References
    ----------
    Santer B.D. et al. 2000, J. Geophys. Res. 105, 7337-7356, doi:10.1029/1999JD901105.

    Examples
    --------
    >>> t = np.datetime64("2023-01-01", "us") + np.arange(104) * np.timedelta64(7, "D")
    >>> drift = 64.0 - 0.7 * np.arange(104) * 7 / 365.25 + 0.05 * np.sin(np.arange(104.0))
    >>> trend = monthly_trend(t, drift)
    >>> round(trend.rate_per_a, 1), trend.p_value < 0.001
    (-0.7, True)
    """
    from scipy.special import stdtr

    seconds = time.astype("datetime64[us]").astype(np.float64) * 1e-6
    if not seconds.size:
        return None
    month = np.floor((seconds - seconds[0]) / SECONDS_PER_MONTH).astype(np.int64)
    first = np.flatnonzero(np.concatenate(([True], month[1:] != month[:-1])))
    if first.size < minimum_months:
        return None
    ends = np.concatenate((first[1:], [seconds.size]))
    x = np.array([seconds[a:b].mean() for a, b in zip(first, ends, strict=True)]) / SECONDS_PER_YEAR
    y = np.array([np.median(value[a:b]) for a, b in zip(first, ends, strict=True)])
    x = x - x.mean()
    slope = float(x @ (y - y.mean()) / (x @ x))
    residual = y - y.mean() - slope * x
    scale = float(residual @ residual)
    phi = min(max(float(residual[:-1] @ residual[1:]) / scale, 0.0), 0.95) if scale > 0.0 else 0.0
    factor = (1.0 + phi) / (1.0 - phi)
    sigma = float(np.sqrt(scale / (x.size - 2) / (x @ x) * factor))
    freedom = max(x.size / factor - 2.0, 1.0)
    p_value = float(2.0 * stdtr(freedom, -abs(slope) / sigma)) if sigma > 0.0 else 0.0
    return Trend(slope, sigma, p_value, int(y.size), float(np.ptp(x)))


@dataclass(frozen=True)
class QuotaUse:
    """How much of a licence year's quota is used, and where the year will end at the present pace.

    `used_share` is of the quota; `projected_m3` the volume at the end of the licence year; `known_share` how much of the elapsed time the
    meter was heard: the projection is None below the required share, unknown volume being no zero.
    """

    used_m3: float
    used_share: float
    elapsed_d: int
    year_d: int
    projected_m3: float | None
    projected_share: float | None
    known_share: float


def licence_year(day: date, start_month: int = 1, start_day: int = 1) -> tuple[date, date]:
    """First day of the licence year that holds a day, and the first day of the next.

    Examples
    --------
    >>> [day.isoformat() for day in licence_year(date(2026, 3, 1), 7, 1)]
    ['2025-07-01', '2026-07-01']
    """
    start = date(day.year, start_month, start_day)
    if day < start:
        start = date(day.year - 1, start_month, start_day)
    return start, date(start.year + 1, start_month, start_day)


def quota_use(
    day: date, daily_m3: ArrayLike, quota_m3: float, start: tuple[int, int] = (1, 1), minimum_known: float = 0.9
) -> QuotaUse:
    r"""Use of a yearly quota and its projection.

    .. math:: V_{end} = V\,\frac{D_{year}}{D_{known}}

    Parameters
    ----------
    day : date
        Last day of the record, local.
    daily_m3 : array_like, shape (d,)
        Volume of each day of the licence year up to and with `day`; NaN where the meter was silent.
    quota_m3 : float
        Of a year.
    start : (int, int)
        Month and day on which the licence year begins.
    minimum_known : float
        Share of the days that must be known for a projection.

    Returns
    -------
    QuotaUse

    Examples
    --------
    >>> use = quota_use(date(2025, 9, 30), np.full(273, 246000.0 / 273), 300000.0)
    >>> round(use.used_share, 2), round(use.projected_m3, -2), round(use.projected_share, 3)
    (0.82, 328900.0, 1.096)
    """
    volumes = np.asarray(daily_m3, dtype=np.float64)
    first, end = licence_year(day, *start)
    elapsed, length = (day - first).days + 1, (end - first).days
    known = np.isfinite(volumes)
    used = float(volumes[known].sum())
    share = float(known.sum()) / elapsed if elapsed else 0.0
    projected = used * length / float(known.sum()) if known.any() and share >= minimum_known else None
    return QuotaUse(
        used, used / quota_m3, elapsed, length, projected, None if projected is None else projected / quota_m3, min(share, 1.0)
    )


@dataclass(frozen=True)
class Reinjection:
    """Ratio of reinjected to abstracted volume over one period: `verdict` is met, short, no_duty, unknown or data_error."""

    ratio: float | None
    verdict: str


def reinjection_ratio(
    abstracted_m3: float | None, injected_m3: float | None, duty: float | None, highest: float = 1.05
) -> Reinjection:
    """Judge the reinjection of a period against the licence's own duty.

    Parameters
    ----------
    abstracted_m3, injected_m3 : float or None
        None where a meter was silent: unknown, never zero.
    duty : float or None
        Ratio that the licence asks for; None = no duty.
    highest : float
        More than this cannot have been reinjected; the meters disagree.

    Returns
    -------
    Reinjection

    Examples
    --------
    >>> reinjection_ratio(60000.0, 41400.0, 0.8)
    Reinjection(ratio=0.69, verdict='short')
    >>> [reinjection_ratio(60000.0, v, d).verdict for v, d in ((0.0, None), (None, 0.8), (78000.0, 0.8), (50000.0, 0.8))]
    ['no_duty', 'unknown', 'data_error', 'met']
    """
    if abstracted_m3 is None or injected_m3 is None or not abstracted_m3 > 0.0:
        return Reinjection(None, "no_duty" if duty is None else "unknown")
    ratio = injected_m3 / abstracted_m3
    if ratio > highest or injected_m3 < 0.0:
        return Reinjection(ratio, "data_error")
    if duty is None:
        return Reinjection(ratio, "no_duty")
    return Reinjection(ratio, "met" if ratio >= duty else "short")
