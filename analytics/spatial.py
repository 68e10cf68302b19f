"""Funnels, lines and borders: areas by class, differential settlement along a line, what is near it, and pairs across a border.

Coordinates are metres in a local plane, rates mm/a with subsidence positive down where the name says `subsidence`. Limits are arguments:
they belong to configuration with their source. This file finishes with `border_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analytics.sampling import Floats


@dataclass(frozen=True)
class ClassArea:
    """Area beyond a class boundary, with the areas that a standard deviation more and less would give; m2."""

    beyond: float
    area_m2: float
    low_m2: float
    high_m2: float


def class_areas(subsidence: Floats, sigma: Floats, cell_m2: float, boundaries: Sequence[float]) -> list[ClassArea]:
    r"""Area of a surface beyond each class boundary.

    .. math:: A_c = a \sum_i \Phi\!\left(\frac{z_i - c}{\sigma_i}\right)

    The expected area counts each cell by its probability; low and high count the cells whose value less (plus) one sigma is beyond.

    Parameters
    ----------
    subsidence, sigma : ndarray, shape (m,)
        Values and standard deviations of the cells, e.g. mm/a or mm, down positive; NaN cells (outside) count nowhere.
    cell_m2 : float
    boundaries : sequence of float
        Same unit as the values.

    Returns
    -------
    list of ClassArea

    Examples
    --------
    >>> [round(area.area_m2) for area in class_areas(np.array([12.0, 8.0, 4.0]), np.full(3, 0.01), 100.0, [5.0, 10.0])]
    [200, 100]
    """
    from scipy.special import ndtr

    known = np.isfinite(subsidence) & np.isfinite(sigma)
    value, error = subsidence[known], np.maximum(sigma[known], 1e-12)
    return [
        ClassArea(
            float(boundary),
            float(cell_m2 * ndtr((value - boundary) / error).sum()),
            float(cell_m2 * (value - error > boundary).sum()),
            float(cell_m2 * (value + error > boundary).sum()),
        )
        for boundary in boundaries
    ]


def grid_over(points_m: Floats, cell_m: float, reach_m: float, largest: int = 250_000) -> tuple[Floats, float]:
    """Centres of the cells within reach of a datum, and the cell's width; the cells grow where there would be too many.

    Examples
    --------
    >>> centres, width = grid_over(np.array([[0.0, 0.0], [900.0, 0.0]]), 100.0, 250.0)
    >>> len(centres), width
    (42, 100.0)
    """
    from scipy.spatial import cKDTree

    low, high = points_m.min(axis=0) - reach_m, points_m.max(axis=0) + reach_m
    while float(np.prod(np.ceil((high - low) / cell_m))) > largest:
        cell_m *= 2.0
    x, y = (np.arange(low[axis] + cell_m / 2.0, high[axis], cell_m) for axis in (0, 1))
    centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    distance, _ = cKDTree(points_m).query(centres)
    return centres[distance <= reach_m], cell_m


def along_line(line_m: Floats, step_m: float) -> tuple[Floats, Floats]:
    """Points along a polyline at equal steps: chainages (k,) and positions (k, 2), m.

    Examples
    --------
    >>> chainage, points = along_line(np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 30.0]]), 20.0)
    >>> chainage.tolist(), points[-1].tolist()
    ([0.0, 20.0, 40.0, 60.0], [30.0, 30.0])
    """
    lengths = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(line_m, axis=0).T))))
    chainage = np.arange(0.0, lengths[-1] + 1e-9, step_m)
    points = np.column_stack([np.interp(chainage, lengths, line_m[:, axis]) for axis in (0, 1)])
    return chainage, points


def distance_to_line(points_m: Floats, line_m: Floats) -> Floats:
    """Shortest distance of each point to a polyline, m.

    Examples
    --------
    >>> distance_to_line(np.array([[10.0, 150.0], [-30.0, 40.0]]), np.array([[0.0, 0.0], [100.0, 0.0]])).tolist()
    [150.0, 50.0]
    """
    start, step = line_m[:-1], np.diff(line_m, axis=0)
    squared = np.maximum((step**2).sum(axis=1), 1e-12)
    share = np.clip(((points_m[:, None, :] - start) * step).sum(axis=-1) / squared, 0.0, 1.0)
    nearest = start + share[..., None] * step
    return np.asarray(np.sqrt(((points_m[:, None, :] - nearest) ** 2).sum(axis=-1)).min(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Distortion:
    """Differential settlement between two neighbouring points of a line.

    Attributes
    ----------
    start_m, span_m : float
        Chainage of the first point, and the distance to the second.
    differential_mm, sigma_mm : float
    distortion : float
        Differential over span, dimensionless (0.001 = 1 per mille).
    """

    start_m: float
    span_m: float
    differential_mm: float
    sigma_mm: float
    distortion: float


def angular_distortions(chainage_m: ArrayLike, settlement_mm: ArrayLike, sigma_mm: ArrayLike | None = None) -> list[Distortion]:
    r"""Angular distortion between neighbouring points of a line.

    .. math:: \beta_i = \frac{|s_{i+1} - s_i|}{x_{i+1} - x_i}

    Parameters
    ----------
    chainage_m : array_like, shape (n,)
        Ascending, m.
    settlement_mm : array_like, shape (n,)
        mm; NaN = unknown: the spans at an unknown point are left out, not bridged.
    sigma_mm : array_like, shape (n,), optional

    Returns
    -------
    list of Distortion
        At most n - 1.

    References
    ----------
    Skempton A.W., MacDonald D.H. 1956, Proc. ICE 5, 727-768, doi:10.1680/ipeds.1956.12202.

    Examples
    --------
    >>> round(angular_distortions([0.0, 20.0], [0.0, 22.0])[0].distortion * 1000, 2)
    1.1
    """
    x, s = np.asarray(chainage_m, dtype=np.float64), np.asarray(settlement_mm, dtype=np.float64)
    error = np.zeros(x.size) if sigma_mm is None else np.asarray(sigma_mm, dtype=np.float64)
    spans, steps, sigmas = np.diff(x), np.abs(np.diff(s)), np.hypot(error[1:], error[:-1])
    return [
        Distortion(float(x[i]), float(spans[i]), float(steps[i]), float(sigmas[i]), float(steps[i] / spans[i] / 1000.0))
        for i in range(spans.size)
        if np.isfinite(steps[i]) and spans[i] > 0.0
    ]


@dataclass(frozen=True)
class DistortionLimit:
    """A limit of angular distortion: its code, largest distortion, and where it is laid down."""

    code: str
    largest: float
    source: str


@dataclass(frozen=True)
class SpanVerdict:
    """What one limit says of one span: `exceeded`, and the differential that it would allow, mm."""

    limit: str
    allowed_mm: float
    exceeded: bool
    certain: bool


def judge_span(span: Distortion, limits: Sequence[DistortionLimit]) -> list[SpanVerdict]:
    """Judge one span against each limit; `certain` where a standard deviation does not turn the answer.

    Examples
    --------
    >>> limits = [DistortionLimit("simple", 1 / 1000, "TB 10621"), DistortionLimit("continuous", 1 / 1500, "TB 10621")]
    >>> span = angular_distortions([0.0, 32.0], [0.0, 23.0])[0]
    >>> [(v.limit, round(v.allowed_mm, 1), v.exceeded) for v in judge_span(span, limits)]
    [('simple', 32.0, False), ('continuous', 21.3, True)]
    """
    verdicts = []
    for limit in limits:
        allowed = limit.largest * span.span_m * 1000.0
        margin = span.differential_mm - allowed
        verdicts.append(SpanVerdict(limit.code, allowed, margin > 0.0, abs(margin) >= span.sigma_mm))
    return verdicts


def well_near_line(
    distance_m: float, protected_m: float, watched_m: float, subsidence_mm_per_a: float | None, subsiding: float
) -> str:
    """Judge a pumping well by its distance from a protected line: `breach`, `ok` or `cannot_tell`.

    Parameters
    ----------
    distance_m : float
    protected_m : float
        Within this distance no pumping is allowed at all.
    watched_m : float
        Up to this distance pumping counts where the ground subsides.
    subsidence_mm_per_a : float or None
        At the well, down positive; None = unknown.
    subsiding : float
        Rate from which a zone counts as subsiding, mm/a.

    Examples
    --------
    >>> [well_near_line(d, 200.0, 500.0, s, 10.0) for d, s in ((150.0, None), (250.0, 2.0), (250.0, 12.0), (250.0, None))]
    ['breach', 'ok', 'breach', 'cannot_tell']
    """
    if distance_m <= protected_m:
        return "breach"
    if distance_m > watched_m:
        return "ok"
    if subsidence_mm_per_a is None:
        return "cannot_tell"
    return "breach" if subsidence_mm_per_a >= subsiding else "ok"


@dataclass(frozen=True)
class BorderPair:
    """Two points on either side of a border: indices, distance, difference of rates with its sigma, and the gradient in mm/a/km."""

    first: int
    second: int
    distance_m: float
    difference: float
    sigma: float
    gradient_per_km: float


def border_pairs(
    points_m: Floats, rates: Floats, sigma: Floats, regions: Sequence[str | None], farthest_m: float = 10_000.0
) -> list[BorderPair]:
    """Each point with its nearest neighbour of another region, within reach, each pair once.

    Parameters
    ----------
    points_m : ndarray, shape (n, 2)
    rates, sigma : ndarray, shape (n,)
        mm/a; NaN = unknown, left out.
    regions : sequence of str or None, shape (n,)
        GB/T 2260 codes; None is left out.
    farthest_m : float

    Returns
    -------
    list of BorderPair
        Steepest first.

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [2000.0, 0.0], [900.0, 0.0]])
    >>> pair = border_pairs(points, np.array([-4.0, -14.0, -5.0]), np.ones(3), ["330411", "320509", "330411"])[0]
    >>> pair.first, pair.second, round(pair.gradient_per_km, 1)
    (1, 2, 8.2)
    """
    usable = [i for i in range(len(regions)) if regions[i] is not None and np.isfinite(rates[i])]
    pairs = set[tuple[int, int]]()
    for i in usable:
        others = [j for j in usable if regions[j] != regions[i]]
        if others:
            distance = np.hypot(*(points_m[others] - points_m[i]).T)
            nearest = int(np.argmin(distance))
            if distance[nearest] <= farthest_m:
                pairs.add((min(i, others[nearest]), max(i, others[nearest])))
    found = []
    for i, j in pairs:
        apart = max(float(np.hypot(*(points_m[i] - points_m[j]))), 1.0)
        difference = float(rates[j] - rates[i])
        error = float(np.hypot(sigma[i], sigma[j]))
        found.append(BorderPair(i, j, apart, difference, error, abs(difference) / apart * 1000.0))
    return sorted(found, key=lambda pair: (-pair.gradient_per_km, pair.first, pair.second))
