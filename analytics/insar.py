r"""All points of an InSAR delivery in batched linear algebra: one model, many points, no loop over points.

Every point has the model x(t) = offset + rate t [+ ½ acceleration t²] [+ annual] [+ semi-annual] [+ steps at given dates]. Points
without gaps share one factorisation; points with gaps have normal equations of their own, all of them built by one matrix product
and solved by one Cholesky recursion over arrays of points. Data are centred and time is scaled first, so that this loses no digits.

Sigma of the rate: `ols` (white noise), `ar1` (the same estimate, its covariance under the AR(1) noise that the residuals show) or
`robust` (Huber's M-estimate). Gaps stay gaps. A point with too few values, or whose values cannot tell the terms apart, has NaN.

References: Huber and Ronchetti 2009, doi:10.1002/9780470434697; Sen 1968, doi:10.1080/01621459.1968.10480934; Hamed and Rao 1998,
doi:10.1016/S0022-1694(97)00125-X. This file finishes with `fit_points`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.insar_trend import trend_test

Floats = npt.NDArray[np.float64]
METHOD, VERSION = "insar_points", "1"
SIGMAS = ("ols", "ar1", "robust")
LEAST_SPARE = 3
"""Values beyond the number of terms that a point must have before anything is said of it."""

BLOCK_POINTS = 1024
_HUBER = 1.345
_MAD_TO_SIGMA = 0.6744897501960817
_ROBUST_ROUNDS = 50
_ROBUST_TOLERANCE = 1e-8
_SINGULAR = 1e-9
_LARGEST_PHI = 0.98


@dataclass(frozen=True, slots=True)
class PointSettings:
    """What is estimated of every point.

    `annual` None = where the delivery spans a year or more; `steps` are decimal years; `trend_test` adds Mann-Kendall and Sen.
    """

    sigma: str = "ar1"
    annual: bool | None = None
    semiannual: bool = False
    acceleration: bool = False
    steps: tuple[float, ...] = ()
    trend_test: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the settings as they are recorded with a run."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PointResults:
    """Results by column, each of shape (points,); NaN = cannot tell."""

    columns: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        return np.asarray(self.values[self.columns.index(name)])


@dataclass(frozen=True, slots=True)
class _Terms:
    """The design of a delivery: matrix of shape (epochs, terms) with scaled time, and where what stands."""

    matrix: Floats
    half_span: float
    quadratic: int | None
    annual: int | None
    semiannual: int | None
    steps: int | None


UNITS = {
    "rate": "mm/a", "rate_sigma": "mm/a", "rmse": "mm", "n": "1", "phi": "1", "acceleration": "mm/a2", "acceleration_sigma": "mm/a2",
    "annual_amplitude": "mm", "annual_sigma": "mm", "annual_phase": "d", "semiannual_amplitude": "mm", "mk_z": "1", "mk_p": "1",
    "sen_slope": "mm/a",
}  # fmt: skip


def unit_of(column: str) -> str:
    """Return the UCUM unit of a result."""
    return UNITS.get(column, "mm")


def resolved(years: Floats, settings: PointSettings) -> PointSettings:
    """Return the settings with what depends on the epochs decided: annual terms from a span of one year on."""
    if settings.sigma not in SIGMAS:
        raise ValueError(f"sigma {settings.sigma!r} is unknown; known: {', '.join(SIGMAS)}")
    span = float(np.ptp(years)) if len(years) else 0.0
    return replace(settings, annual=span >= 1.0 if settings.annual is None else settings.annual)


def columns_of(settings: PointSettings) -> tuple[str, ...]:
    """Return the names of the results that these (resolved) settings give, in their order."""
    names = ["rate", "rate_sigma", "rmse", "n"]
    names += ["phi"] if settings.sigma == "ar1" else []
    names += ["acceleration", "acceleration_sigma"] if settings.acceleration else []
    names += ["annual_amplitude", "annual_sigma", "annual_phase"] if settings.annual else []
    names += ["semiannual_amplitude"] if settings.semiannual else []
    for number in range(1, len(settings.steps) + 1):
        names += [f"step_{number}", f"step_{number}_sigma"]
    names += ["mk_z", "mk_p", "sen_slope"] if settings.trend_test else []
    return tuple(names)


def fit_points(years: Floats, displacement_mm: npt.NDArray[Any], settings: PointSettings) -> PointResults:
    r"""Estimate rate, seasons, rmse and sigma of many points.

    Parameters
    ----------
    years
        Decimal years of the epochs, increasing, shape (epochs,).
    displacement_mm
        Shape (epochs, points), mm; NaN = no value. Whichever way is positive, the results count the same way.
    settings
        What is estimated.

    Returns
    -------
    PointResults
        `rate` and its 1 sigma in mm/a (with an acceleration: at the middle of the delivery), `rmse` = √(Σr²/n) in mm, `n` values used,
        `phi` the lag-one correlation at the usual interval, `acceleration` = 2 × the quadratic coefficient in mm/a²,
        amplitudes in mm, `annual_phase` the day of the year of the maximum, `step_N` sizes in mm.

    Raises
    ------
    ValueError
        Shapes do not fit, or epochs do not increase.

    Examples
    --------
    >>> years = 2019 + np.arange(60) / 30.4
    >>> fit = fit_points(years, np.outer(years - 2019, [-8.0, 3.0]), PointSettings(sigma="ols"))
    >>> np.round(fit["rate"], 6).tolist()
    [-8.0, 3.0]
    """
    years = np.asarray(years, dtype=np.float64)
    if years.ndim != 1 or displacement_mm.ndim != 2 or len(years) != len(displacement_mm):
        raise ValueError("displacement_mm must be of shape (epochs, points)")
    if len(years) > 1 and not (np.diff(years) > 0).all():
        raise ValueError("the epochs must increase")
    chosen = resolved(years, settings)
    names = columns_of(chosen)
    terms = _terms(years, chosen)
    found = np.full((len(names), displacement_mm.shape[1]), np.nan)
    for start in range(0, displacement_mm.shape[1], BLOCK_POINTS):
        part = slice(start, start + BLOCK_POINTS)
        values = displacement_mm[:, part].astype(np.float64)
        whole = ~np.isnan(values.sum(axis=0))
        for rows in (np.flatnonzero(whole), np.flatnonzero(~whole)):
            if len(rows):
                block = _fit_alike(years, values if len(rows) == values.shape[1] else values[:, rows], terms, chosen)
                found[:, start + rows] = [block[name] for name in names]
    return PointResults(names, found)


def _terms(years: Floats, settings: PointSettings) -> _Terms:
    middle = 0.5 * (years[0] + years[-1]) if len(years) else 0.0
    half_span = max(0.5 * float(np.ptp(years)), 1e-9) if len(years) else 1.0
    scaled = (years - middle) / half_span
    parts = [np.ones_like(scaled), scaled]
    places: dict[str, int | None] = dict.fromkeys(("quadratic", "annual", "semiannual", "steps"))

    def add(name: str, *more: Floats) -> None:
        places[name] = len(parts)
        parts.extend(more)

    if settings.acceleration:
        add("quadratic", scaled**2)
    for name, wanted, cycles in (("annual", settings.annual, 1), ("semiannual", settings.semiannual, 2)):
        if wanted:
            angle = 2 * np.pi * cycles * years
            add(name, np.cos(angle), np.sin(angle))
    if settings.steps:
        add("steps", *((years >= step).astype(np.float64) for step in settings.steps))
    return _Terms(np.stack(parts, axis=1), half_span, **places)


@dataclass(frozen=True, slots=True)
class _Solution:
    """Estimate of one block: `inverse` is L⁻¹ of the normal matrix, shape (terms, terms, points or 1)."""

    beta: Floats
    residual: Floats
    inverse: Floats
    sound: npt.NDArray[np.bool_]


def _solve(design: Floats, values: Floats, weight: Floats | None, valid: npt.NDArray[np.bool_]) -> _Solution:
    """Solve the normal equations of every point; `weight` None = every epoch counts once for every point."""
    terms = design.shape[1]
    if weight is None:
        normal = (design.T @ design)[:, :, None]
        right = design.T @ values
    else:
        products = (design[:, :, None] * design[:, None, :]).reshape(len(design), terms * terms)
        normal = (products.T @ weight).reshape(terms, terms, -1)
        right = design.T @ (weight * values)
    inverse, sound = _inverse_cholesky(normal)
    if weight is None:
        shared = inverse[:, :, 0]
        beta = shared.T @ (shared @ right)
    else:
        beta = np.einsum("jip,jp->ip", inverse, np.einsum("jip,ip->jp", inverse, right))
    residual = design @ beta
    np.subtract(values, residual, out=residual)
    if weight is not None:
        residual = np.where(valid, residual, 0.0)
    return _Solution(beta, residual, inverse, np.broadcast_to(sound, values.shape[1:]))


def _inverse_cholesky(normal: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return L⁻¹ for each matrix L Lᵀ in the last axis, and which are sound; loops over terms, never over points."""
    terms, points = normal.shape[0], normal.shape[2]
    lower = np.zeros_like(normal)
    sound = np.ones(points, dtype=bool)
    for i in range(terms):
        for j in range(i):
            lower[i, j] = (normal[i, j] - np.sum(lower[i, :j] * lower[j, :j], axis=0)) / lower[j, j]
        pivot = normal[i, i] - np.sum(lower[i, :i] ** 2, axis=0)
        good = pivot > _SINGULAR * np.maximum(normal[i, i], 1e-300)
        sound &= good
        lower[i, i] = np.sqrt(np.where(good, pivot, 1.0))
    inverse = np.zeros_like(normal)
    for i in range(terms):
        inverse[i, i] = 1.0 / lower[i, i]
        for j in range(i):
            inverse[i, j] = -np.sum(lower[i, j:i] * inverse[j:i, j], axis=0) * inverse[i, i]
    return inverse, sound


def _fit_alike(years: Floats, values: Floats, terms: _Terms, settings: PointSettings) -> Mapping[str, Floats]:
    """Fit points of which none or every one has gaps."""
    epochs, points = values.shape
    gaps = bool(np.isnan(values[:, 0]).any())
    if gaps:
        valid = ~np.isnan(values)
        n = valid.sum(axis=0).astype(np.float64)
        centred = np.where(valid, values - np.sum(values, axis=0, where=valid) / np.maximum(n, 1.0), 0.0)
    else:
        valid, n = np.broadcast_to(True, values.shape), np.full(points, float(epochs))
        centred = values - values.mean(axis=0)
    weight = valid.astype(np.float64) if gaps else None
    found = _solve(terms.matrix, centred, weight, valid)
    size = terms.matrix.shape[1]
    enough = found.sound & (n >= size + LEAST_SPARE)
    spare = np.where(enough, n - size, np.nan)
    rss = np.einsum("ij,ij->j", found.residual, found.residual)
    answer: dict[str, Floats] = {"n": n, "rmse": np.where(enough, np.sqrt(rss / np.maximum(n, 1.0)), np.nan)}
    if settings.sigma == "robust":
        found, variance = _robust(terms.matrix, centred, valid, found, n)
        factor = _unit_variances(found.inverse)
    elif settings.sigma == "ar1":
        factor, spare_ar1, phi = _correlated(years, terms.matrix, found, valid, n)
        variance = rss / np.where(enough, spare_ar1, np.nan)
        answer["phi"] = np.where(enough, phi, np.nan)
    else:
        variance, factor = rss / spare, _unit_variances(found.inverse)
    sigma = np.sqrt(np.where(enough, variance, np.nan) * factor)
    beta = np.where(enough, found.beta, np.nan)
    answer |= _named(beta, sigma, terms, settings)
    if settings.trend_test:
        answer |= trend_test(years, values, answer.get("phi"))
    return answer


def _unit_variances(inverse: Floats) -> Floats:
    """Return the diagonal of N⁻¹ = L⁻ᵀ L⁻¹, shape (terms, points or 1)."""
    return np.asarray(np.sum(inverse**2, axis=0))


def _correlated(
    years: Floats, design: Floats, found: _Solution, valid: npt.NDArray[np.bool_], n: Floats
) -> tuple[Floats, Floats, Floats]:
    r"""Return, under AR(1) noise, each term's unit variance, the degrees of freedom n - tr(HR), and phi.

    With R_ij = φ^{|t_i - t_j|/Δ} the least-squares estimate a·x has the variance σ² aᵀRa, and E[rss] = σ² (n - tr(HR)), H = UᵀU. Both
    are sums of zᵢ, zᵢ = φ^{(tᵢ-tᵢ₋₁)/Δ} zᵢ₋₁ + aᵢ, which any spacing and any gap fits into.
    """
    steps = np.diff(years)
    interval = float(np.median(steps)) if len(steps) else 1.0
    phi = _phi(found.residual, valid, steps / interval, design.shape[1], n)
    shared = found.inverse.shape[2] == 1
    inverse = found.inverse[:, :, 0] if shared else found.inverse
    # Rows of U span the design orthonormally; rows of A = N⁻¹Xᵀ give the estimates.
    base = np.einsum("jk,nk->jn", inverse, design)[:, :, None] if shared else np.einsum("jkp,nk->jnp", inverse, design) * valid
    rows = np.einsum("jk,jnp->knp", inverse, base) if shared else np.einsum("jkp,jnp->knp", inverse, base)
    fade = phi[None, :] ** (steps / interval)[:, None]
    return _quadratic(rows, fade), n - _quadratic(base, fade).sum(axis=0), phi


def _quadratic(rows: Floats, fade: Floats) -> Floats:
    """Return aᵀRa for each row a (shape (rows, epochs, points or 1)): shape (rows, points)."""
    state = np.broadcast_to(rows[:, 0], (rows.shape[0], fade.shape[1])).copy()
    total = state**2
    for epoch in range(1, rows.shape[1]):
        carried = fade[epoch - 1] * state
        total += rows[:, epoch] * (2.0 * carried + rows[:, epoch])
        state = carried + rows[:, epoch]
    return np.asarray(total)


def _phi(residual: Floats, valid: npt.NDArray[np.bool_], spacing: Floats, terms: int, n: Floats) -> Floats:
    """Return the lag-one correlation at the usual interval, at least 0, freed of what the fit took out of the residuals.

    The fit removes about terms/n of the power at low frequencies, where AR(1) noise has (1+φ)/(1-φ) of its mean: with q that share,
    the residuals show (φ - q)/(1 - q). Negative correlations are not used: they would narrow the sigma.
    """
    usual = (spacing < 1.5)[:, None] & valid[:-1] & valid[1:]
    pairs = usual.sum(axis=0)
    power = np.sum(residual**2, axis=0) / np.maximum(n, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.sum(residual[:-1] * residual[1:], axis=0, where=usual) / np.maximum(pairs, 1) / power
    seen = np.where(np.isfinite(seen), np.clip(seen, -1.0, _LARGEST_PHI), 0.0)
    phi = np.clip(seen, 0.0, _LARGEST_PHI)
    share = terms / np.maximum(n, terms + 1.0)
    for _ in range(8):
        q = np.minimum(share * (1.0 + phi) / (1.0 - phi), 0.5)
        phi = np.clip(seen * (1.0 - q) + q, 0.0, _LARGEST_PHI)
    return phi


def _robust(
    design: Floats, centred: Floats, valid: npt.NDArray[np.bool_], start: _Solution, n: Floats
) -> tuple[_Solution, Floats]:
    """Return Huber's M-estimate and the variance that scales N⁻¹ (Huber's first covariance), with MAD/0.6745 as scale."""
    found, size = start, design.shape[1]
    ones = valid.astype(np.float64)
    for _ in range(_ROBUST_ROUNDS):
        scale = _scale(found.residual, valid)
        ratio = np.abs(found.residual) / np.maximum(scale, 1e-12)
        weight = ones * np.minimum(1.0, _HUBER / np.maximum(ratio, 1e-12))
        following = _solve(design, centred, weight, valid)
        change = np.abs(following.beta - found.beta).max(axis=0) / np.maximum(scale, 1e-12)
        found = following
        if np.nanmax(change, initial=0.0) < _ROBUST_TOLERANCE:
            break
    scale = _scale(found.residual, valid)
    ratio = found.residual / np.maximum(scale, 1e-12)
    psi = np.clip(ratio, -_HUBER, _HUBER) * ones
    slope = np.sum((np.abs(ratio) <= _HUBER) * ones, axis=0) / np.maximum(n, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = 1.0 + size / n * (1.0 - slope) / slope
        variance = correction**2 * np.sum(psi**2, axis=0) * scale**2 / (n - size) / slope**2
    plain = _solve(design, centred, ones, valid)
    return _Solution(found.beta, found.residual, plain.inverse, plain.sound & start.sound), np.asarray(variance)


def _scale(residual: Floats, valid: npt.NDArray[np.bool_]) -> Floats:
    """Return MAD/0.6745 about zero of each point."""
    size = np.ascontiguousarray(np.abs(residual).T)
    n = valid.sum(axis=0)
    if (n == len(residual)).all():
        middle = len(residual) // 2
        size.partition([max(middle - 1, 0), middle], axis=1)
        found = size[:, middle] if len(residual) % 2 else 0.5 * (size[:, middle - 1] + size[:, middle])
        return np.asarray(found / _MAD_TO_SIGMA)
    size[~valid.T] = np.inf
    size.sort(axis=1)
    points = np.arange(len(size))
    low, high = np.maximum((n - 1) // 2, 0), np.minimum(n // 2, size.shape[1] - 1)
    with np.errstate(invalid="ignore"):
        middles = np.where(n > 0, 0.5 * (size[points, low] + size[points, high]), 0.0)
    return np.asarray(middles / _MAD_TO_SIGMA)


def _named(beta: Floats, sigma: Floats, terms: _Terms, settings: PointSettings) -> dict[str, Floats]:
    """Return parameters in their units: mm/a, mm/a², mm, days."""
    sigma = np.broadcast_to(sigma, beta.shape)
    answer = {"rate": beta[1] / terms.half_span, "rate_sigma": sigma[1] / terms.half_span}
    if terms.quadratic is not None:
        answer["acceleration"] = 2.0 * beta[terms.quadratic] / terms.half_span**2
        answer["acceleration_sigma"] = 2.0 * sigma[terms.quadratic] / terms.half_span**2
    if terms.annual is not None:
        cosine, sine = beta[terms.annual], beta[terms.annual + 1]
        answer["annual_amplitude"] = np.hypot(cosine, sine)
        answer["annual_sigma"] = np.sqrt(0.5 * (sigma[terms.annual] ** 2 + sigma[terms.annual + 1] ** 2))
        answer["annual_phase"] = np.arctan2(sine, cosine) / (2 * np.pi) % 1.0 * 365.25
    if terms.semiannual is not None:
        answer["semiannual_amplitude"] = np.hypot(beta[terms.semiannual], beta[terms.semiannual + 1])
    for number in range(len(settings.steps)):
        assert terms.steps is not None
        answer[f"step_{number + 1}"] = beta[terms.steps + number]
        answer[f"step_{number + 1}_sigma"] = sigma[terms.steps + number]
    return answer
