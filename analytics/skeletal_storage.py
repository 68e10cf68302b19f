"""Head against compaction: lag, elastic and inelastic skeletal storage, and the preconsolidation head.

Heads are metres, up positive; compaction is millimetres, shortening positive; so a falling head compacts. Pairs are formed only where
both were observed: gaps stay gaps. This file finishes with `inelastic_spells`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.sampling import Floats, Times

MINIMUM_PAIRS = 12


@dataclass(frozen=True)
class Pairs:
    """Compaction with the head of the same days: `days` since the first pair, `head_m`, `compaction_mm`, each of shape (n,)."""

    days: Floats
    head_m: Floats
    compaction_mm: Floats


def day_number(time: Times) -> Floats:
    """Days since 2000-01-01T00:00Z, with fractions."""
    return np.asarray((time.astype("datetime64[us]") - np.datetime64("2000-01-01", "us")).astype(np.float64) / 86400e6)


def pair_up(
    head: tuple[Times, Floats], compaction: tuple[Times, Floats], lag_d: float = 0.0, longest_gap_d: float = 45.0
) -> Pairs:
    """Heads interpolated to the times of the compaction, `lag_d` earlier.

    Parameters
    ----------
    head, compaction : (times, values)
        Ascending, finite; m and mm.
    lag_d : float
        By how many days compaction follows the head.
    longest_gap_d : float
        No head is interpolated between samples further apart than this.

    Returns
    -------
    Pairs
    """
    t_head, t_compaction = day_number(head[0]), day_number(compaction[0]) - lag_d
    if t_head.size < 2 or not t_compaction.size:
        return Pairs(np.zeros(0), np.zeros(0), np.zeros(0))
    right = np.clip(np.searchsorted(t_head, t_compaction), 1, t_head.size - 1)
    inside = (t_compaction >= t_head[0]) & (t_compaction <= t_head[-1])
    inside &= (t_head[right] - t_head[right - 1] <= longest_gap_d) | (t_head[right] == t_compaction)
    values = np.interp(t_compaction, t_head, head[1])
    days = t_compaction[inside] + lag_d
    return Pairs(days - (days[0] if days.size else 0.0), values[inside], compaction[1][inside])


def detrended(days: Floats, value: Floats) -> Floats:
    """Residual of a straight line, so that two trends alone never look like a relation."""
    return np.asarray(value - np.polyval(np.polyfit(days, value, 1), days), dtype=np.float64)


@dataclass(frozen=True)
class Lag:
    """By how many days compaction follows the head, and how well: r is the correlation of -head and compaction at the lag."""

    lag_d: float
    r: float
    n: int
    significant: bool


def find_lag(
    head: tuple[Times, Floats],
    compaction: tuple[Times, Floats],
    longest_lag_d: float = 200.0,
    step_d: float = 1.0,
    longest_gap_d: float = 45.0,
) -> Lag | None:
    r"""Lag of compaction behind head by cross-correlation of the detrended series.

    .. math:: \hat\ell = \arg\max_{\ell \ge 0}\; \mathrm{corr}\bigl(b(t),\, -h(t - \ell)\bigr)

    refined by a parabola through the three highest values.

    Parameters
    ----------
    head, compaction : (times, values)
        Ascending, finite; m and mm.
    longest_lag_d, step_d : float
        Search range and step, days. With an annual cycle a range above half a year would be ambiguous.
    longest_gap_d : float
        See `pair_up`.

    Returns
    -------
    Lag or None
        None with fewer than 12 pairs or without variation. `significant` compares r with 1.96 / sqrt(n_eff); n_eff by the lag-one
        autocorrelations (Bartlett), but at least the number of half-waves.

    References
    ----------
    Bartlett M.S. 1935, J. R. Stat. Soc. 98, 536-543, doi:10.2307/2342284.

    Examples
    --------
    >>> t = np.datetime64("2020-01-01", "us") + np.arange(1461) * np.timedelta64(1, "D")
    >>> wave = lambda lag: np.sin(2 * np.pi * (np.arange(1461) - lag) / 365.25)
    >>> lag = find_lag((t, 2.0 * wave(0.0)), (t, -3.0 * wave(20.0)))
    >>> round(lag.lag_d), round(lag.r, 3), lag.significant
    (20, 1.0, True)
    """
    lags = np.arange(0.0, longest_lag_d + step_d, step_d)
    scores = np.full(lags.size, np.nan)
    for index, lag in enumerate(lags):
        pairs = pair_up(head, compaction, float(lag), longest_gap_d)
        if pairs.days.size >= MINIMUM_PAIRS:
            scores[index] = _correlation(-detrended(pairs.days, pairs.head_m), detrended(pairs.days, pairs.compaction_mm))
    if not np.isfinite(scores).any():
        return None
    best = int(np.nanargmax(scores))
    refined = float(lags[best])
    if 0 < best < lags.size - 1 and np.isfinite(scores[best - 1 : best + 2]).all():
        before, at, after = scores[best - 1 : best + 2]
        bend = before - 2.0 * at + after
        refined += step_d * float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0
    pairs = pair_up(head, compaction, float(lags[best]), longest_gap_d)
    n = _effective_pairs(detrended(pairs.days, pairs.head_m), detrended(pairs.days, pairs.compaction_mm))
    r = float(scores[best])
    return Lag(refined, r, pairs.days.size, bool(r > 1.96 / np.sqrt(n)))


def _correlation(a: Floats, b: Floats) -> float:
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0.0 else float("nan")


def _effective_pairs(a: Floats, b: Floats) -> float:
    product = min(max(_lag_one(a) * _lag_one(b), 0.0), 0.999)
    bartlett = a.size * (1.0 - product) / (1.0 + product)
    # A slow wave sampled daily has an autocorrelation near one and hardly any freedom by that rule: each of its half-waves is one fact.
    half_waves = min(int((np.diff(np.sign(series)) != 0).sum()) for series in (a, b))
    return float(max(bartlett, half_waves, 3.0))


def _lag_one(residual: Floats) -> float:
    scale = float(residual @ residual)
    return float(residual[:-1] @ residual[1:]) / scale if scale > 0.0 else 0.0


@dataclass(frozen=True)
class SkeletalStorage:
    """Elastic and inelastic skeletal storage of a column.

    Attributes
    ----------
    ske, ske_sigma : float
        Elastic skeletal storage coefficient, dimensionless; NaN where no elastic loop was seen.
    skv, skv_sigma : float
        Inelastic (virgin) coefficient; NaN where no new record low was set.
    sske_per_m, sskv_per_m : float
        The same over the thickness, 1/m.
    preconsolidation_m : float
        Lowest head before the last sample: the stress that the clay has carried already.
    drift_mm_per_a : float
        Compaction that goes on whatever the head does (residual compaction).
    n_elastic, n_virgin : int
    rmse_mm : float
        What the model leaves of the compaction.
    """

    ske: float
    ske_sigma: float
    skv: float
    skv_sigma: float
    sske_per_m: float
    sskv_per_m: float
    preconsolidation_m: float
    drift_mm_per_a: float
    n_elastic: int
    n_virgin: int
    rmse_mm: float


def skeletal_storage(
    pairs: Pairs,
    thickness_m: float | None = None,
    known_low_m: float = np.inf,
    margin_m: float = 0.05,
    warm_up_d: float = 730.0,
) -> SkeletalStorage | None:
    r"""Elastic and virgin skeletal storage from heads and compaction.

    .. math:: b(t) = b_0 + v\,t - S_{ke}\,\Delta h_e(t) - S_{kv}\,\Delta h_v(t), \qquad S_{sk} = S_k / B

    The head is split at the lowest head so far, :math:`h_p(t)`: what it moves above :math:`h_p` is elastic, what it lowers
    :math:`h_p` is virgin, :math:`h = \Delta h_e + \Delta h_v`. Least squares; the sigmas carry the AR(1) factor
    :math:`\sqrt{(1 + \varphi)/(1 - \varphi)}`.

    Parameters
    ----------
    pairs : Pairs
        At the right lag, in time order.
    thickness_m : float, optional
        Thickness B of the compacting sediments.
    known_low_m : float
        Lowest head before the record, m; it is not virgin ground again until that is passed.
    margin_m : float
        A virgin part smaller than this is not estimated.
    warm_up_d : float
        Without a known low the first days of the record give it: ground that was there before the record began is not virgin.

    Returns
    -------
    SkeletalStorage or None
        None with fewer than 12 pairs or a head that hardly moves.

    References
    ----------
    Riley F.S. 1969, IAHS Publ. 89, 423-431; Helm D.C. 1975, Water Resour. Res. 11, 465-478, doi:10.1029/WR011i003p00465.

    Examples
    --------
    >>> days = np.arange(0.0, 1461.0, 10.0)
    >>> head = 2.0 * np.sin(2 * np.pi * days / 365.25)
    >>> found = skeletal_storage(Pairs(days, head, -1.5 * head), thickness_m=100.0, known_low_m=-5.0)
    >>> f"{found.ske:.1e} {found.sske_per_m:.1e}"
    '1.5e-03 1.5e-05'
    """
    n = pairs.days.size
    if n < MINIMUM_PAIRS or float(np.ptp(pairs.head_m)) < 2.0 * margin_m:
        return None
    if not np.isfinite(known_low_m):
        known_low_m = float(pairs.head_m[pairs.days <= pairs.days[0] + warm_up_d].min())
    low = np.minimum(np.minimum.accumulate(pairs.head_m), known_low_m)
    virgin = low - min(float(pairs.head_m[0]), known_low_m)
    elastic = pairs.head_m - low
    columns = [np.ones(n), pairs.days / 365.25, -elastic]
    has_virgin = float(-virgin[-1]) >= 2.0 * margin_m
    if has_virgin:
        columns.append(-virgin)
    design = np.column_stack(columns)
    scale = np.maximum(np.abs(design).max(axis=0), 1e-12)
    estimate, _, rank, _ = np.linalg.lstsq(design / scale, pairs.compaction_mm, rcond=1e-10)
    if rank < design.shape[1]:
        return None
    residual = pairs.compaction_mm - design / scale @ estimate
    phi = min(max(_lag_one(residual), 0.0), 0.98)
    variance = float(residual @ residual) / max(n - design.shape[1], 1) * (1.0 + phi) / (1.0 - phi)
    sigma = np.sqrt(np.diag(np.linalg.inv((design / scale).T @ (design / scale))) * variance) / scale * 1e-3
    coefficients = estimate / scale
    ske = float(coefficients[2]) * 1e-3
    skv = float(coefficients[3]) * 1e-3 if has_virgin else np.nan
    per = np.nan if thickness_m is None else 1.0 / thickness_m
    return SkeletalStorage(
        ske,
        float(sigma[2]),
        skv,
        float(sigma[3]) if has_virgin else np.nan,
        ske * per,
        skv * per,
        float(min(pairs.head_m[:-1].min(), known_low_m)),
        float(coefficients[1]),
        int((low == np.concatenate(([np.inf], low[:-1]))).sum()),
        int((low < np.concatenate(([low[0]], low[:-1]))).sum()),
        float(np.sqrt(np.mean(residual**2))),
    )


def storage_at_best_lag(
    head: tuple[Times, Floats],
    compaction: tuple[Times, Floats],
    thickness_m: float | None = None,
    known_low_m: float = np.inf,
    longest_lag_d: float = 180.0,
    longest_gap_d: float = 45.0,
) -> tuple[float, SkeletalStorage] | None:
    """Storage at the lag at which the elastic and virgin model fits best, and that lag in days.

    Where the head goes below its old low, compaction is no mirror of the head any more and a correlation alone would find the lag of the
    mixture; the model knows both parts.

    Returns
    -------
    (float, SkeletalStorage) or None

    Examples
    --------
    >>> t = np.datetime64("2020-01-01", "us") + np.arange(1461) * np.timedelta64(1, "D")
    >>> wave = lambda lag: np.sin(2 * np.pi * (np.arange(1461) - lag) / 365.25)
    >>> lag, found = storage_at_best_lag((t, 2.0 * wave(0.0)), (t, -3.0 * wave(20.0)), 100.0)
    >>> round(lag), f"{found.ske:.1e}"
    (20, '1.5e-03')
    """
    best: tuple[float, SkeletalStorage] | None = None
    step, centre, reach = 10.0, longest_lag_d / 2.0, longest_lag_d / 2.0
    while step >= 1.0:
        for lag in np.arange(max(centre - reach, 0.0), centre + reach + step / 2.0, step):
            found = skeletal_storage(pair_up(head, compaction, float(lag), longest_gap_d), thickness_m, known_low_m)
            if found is not None and (best is None or found.rmse_mm < best[1].rmse_mm):
                best = (float(lag), found)
        if best is None:
            return None
        centre, reach, step = best[0], step, step / 5.0
    return best


@dataclass(frozen=True)
class Spell:
    """A time in which the head lay below every earlier one: first and last sample, and the new low in metres."""

    start: np.datetime64
    end: np.datetime64
    low_m: float
    below_m: float


def inelastic_spells(
    time: Times, head_m: Floats, known_low_m: float = np.inf, margin_m: float = 0.1, warm_up_d: float = 730.0
) -> list[Spell]:
    """Times in which the head set a new record low: the clay then compacts inelastically and for good.

    Parameters
    ----------
    time, head_m : ndarray, shape (n,)
        Ascending, finite.
    known_low_m : float
        Lowest head before the record (preconsolidation head), m.
    margin_m : float
        How far below the old low counts; above the error of a level.
    warm_up_d : float
        Without a known low the first days of a record only learn the range: the first cycle sets "record lows" by itself.

    Returns
    -------
    list of Spell
        In time order; each one ends with the last sample below the low that stood when it began.

    Notes
    -----
    Gaps: lows that fall into a gap are unknown; the next sample is compared with the lowest head seen.

    References
    ----------
    Holzer T.L. 1981, Water Resour. Res. 17, 693-704, doi:10.1029/WR017i003p00693.

    Examples
    --------
    >>> t = np.array(["2020-01-01", "2021-01-01", "2023-06-01", "2023-07-01"], "datetime64[us]")
    >>> [spell.low_m for spell in inelastic_spells(t, np.array([-4.0, -6.0, -5.0, -7.0]))]
    [-7.0]
    """
    if not len(time):
        return []
    learnt = np.ones(len(time), dtype=bool)
    if not np.isfinite(known_low_m):
        learnt = (time - time[0]) / np.timedelta64(1, "D") >= warm_up_d
    low, found = known_low_m, list[Spell]()
    start: int | None = None
    for index in range(len(time) + 1):
        head = float(head_m[index]) if index < len(time) else np.inf
        if start is None:
            if index < len(time) and learnt[index] and head < low:
                start = index
            else:
                low = min(low, head)
        elif head >= low:
            # The old low stands until the head is back above it: a slow decline must not carry it along.
            spell = _spell(time, head_m, start, index - 1, low)
            if spell.below_m > margin_m:
                found.append(spell)
            low, start = spell.low_m, None
    return found


def _spell(time: Times, head: Floats, start: int, end: int, low: float) -> Spell:
    deepest = float(head[start : end + 1].min())
    return Spell(time[start], time[end], deepest, low - deepest)
