r"""Where a subsidence under production may be many years ahead, if it goes on as such subsidence has gone: a scenario, not a forecast.

Nothing in a record tests what it says of a time as long as itself, so the assumption has to be stated: the level follows one bent curve
from rest to rest, production goes on as it does, and which of the five families of curves it is nobody knows. With z = (t - m) / w:

    logistic      1 / (1 + exp(-z))            gompertz   exp(-exp(-z))            hill  u^2 / (u^2 + w^2)
    hyperbolic    u / (u + w)                  delayed    1 - (1 + u/w) exp(-u/w)

with u = max(t - m, 0). Every curve c0 + c1 F is linear in c0 and c1; m and w run over a grid. A node's weight is its likelihood, the
scale integrated out and the residuals counting as few independent ones,

.. math:: p \propto \mathrm{rss}^{-n_e / 2}, \qquad n_e = 5,

and the forecast is the mixture over families and nodes, tied to the last value, each with the variance of its c1 and of the residuals.

References: Hoeting et al. (1999), doi:10.1214/ss/1009212519 (averaging over models); Allis, Bromley and Currie (2009),
doi:10.1016/j.geothermics.2008.09.006 (subsidence at Wairakei-Tauhara); Waltham (2005), Foundations of Engineering Geology. This file
finishes with `describe_scenario`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import numpy as np

from analytics.level_forecast import blocks, without_steps
from analytics.method import plain, time_of
from analytics.preparation import VelocityParameters, prepare
from analytics.sampling import Floats, Samples
from domain.model import StationEvent, ValueKind

ASSUMPTION = "one_bent_curve_from_rest_to_rest_while_production_goes_on"
LONGEST_SHARE = 1.0
"""Longest horizon as a share of the record."""
LEAST_SAMPLES, LEAST_SPAN_A = 12, 10.0
BLOCKS, KNOTS = 60, 10
"""A bent curve needs no more means of the record, and is told at so many times."""
MIDDLES, WIDTHS = 56, 40
INDEPENDENT = 5.0
"""The residuals count as so many independent ones: none of the families is the truth, and what it misses is smooth."""
DRAWS = tuple(NormalDist().inv_cdf((k + 0.5) / 15) for k in range(15))
"""Equally probable points of a normal distribution: what stands for one node of the mixture."""


def _logistic(t: Floats, m: Floats, w: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((t - m) / w, -60.0, 60.0))))


def _gompertz(t: Floats, m: Floats, w: Floats) -> Floats:
    return np.asarray(np.exp(-np.exp(-np.clip((t - m) / w, -6.0, 60.0))))


def _hyperbolic(t: Floats, m: Floats, w: Floats) -> Floats:
    u = np.maximum(t - m, 0.0)
    return np.asarray(u / (u + w))


def _hill(t: Floats, m: Floats, w: Floats) -> Floats:
    u = np.maximum(t - m, 0.0)
    return np.asarray(u**2 / (u**2 + w**2))


def _delayed(t: Floats, m: Floats, w: Floats) -> Floats:
    u = np.maximum(t - m, 0.0) / w
    return np.asarray(1.0 - (1.0 + u) * np.exp(-u))


FAMILIES: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = MappingProxyType(
    {"logistic": _logistic, "gompertz": _gompertz, "hyperbolic": _hyperbolic, "hill": _hill, "delayed": _delayed}
)


@dataclass(frozen=True)
class Scenario:
    """What may come, under the stated assumption.

    Attributes
    ----------
    assumption : str
    years : ndarray, shape (k,)
        Decimal years.
    value, lower, upper : ndarray, shape (k,)
        Median of the mixture and the ends of its interval, in the unit of the values.
    level : float
        Probability of the interval.
    weights : mapping of str to float
        Share of each family in the mixture.
    """

    assumption: str
    years: Floats
    value: Floats
    lower: Floats
    upper: Floats
    level: float
    weights: Mapping[str, float]


@dataclass(frozen=True)
class _Nodes:
    """Curves of one family on the grid: sum of squares, height c1 and its unit variance, rise of F to each time ahead."""

    rss: Floats
    height: Floats
    height_variance: Floats
    rise: Floats


def long_scenario(years: Floats, values: Floats, ahead: Floats, level: float = 0.95) -> Scenario | None:
    """Say where the level may be, many years ahead.

    Parameters
    ----------
    years, values : ndarray, shape (n,)
        Ascending decimal years, any unit.
    ahead : ndarray, shape (k,)
        Years after the last one, ascending, at most the length of the record.
    level : float
        Probability of the interval.

    Returns
    -------
    Scenario or None
        None with fewer than twelve samples, less than ten years, a longer horizon than the record, or no change at all.

    Examples
    --------
    >>> t = np.arange(1950.0, 1991.0)
    >>> level = -15.0 / (1.0 + np.exp(-(t - 1975.0) / 6.0)) + 0.01 * np.sin(9.0 * t)
    >>> said = long_scenario(t, level, np.array([25.0]))
    >>> bool(said.lower[0] < -15.0 / (1.0 + np.exp(-40.0 / 6.0)) < said.upper[0])
    True
    """
    span = float(years[-1] - years[0]) if years.size else 0.0
    if years.size < LEAST_SAMPLES or span < LEAST_SPAN_A or float(ahead[-1]) > LONGEST_SHARE * span * (1.0 + 1e-9):
        return None
    if float(np.ptp(values)) == 0.0:
        return None
    nodes = {name: _on_grid(years, values, ahead, shape) for name, shape in FAMILIES.items()}
    floor = min(float(item.rss.min()) for item in nodes.values())
    power = {name: (item.rss / floor) ** (-0.5 * INDEPENDENT) for name, item in nodes.items()}
    # Every family has the same say before the data: its weight is the mean likelihood over its grid.
    total = sum(float(item.sum()) for item in power.values())
    shares = {name: float(item.sum()) / total for name, item in power.items()}
    # Four numbers of a curve were fitted.
    scale = np.sqrt(floor / (INDEPENDENT - 4.0) * INDEPENDENT / years.size)
    weight = np.concatenate(list(power.values()))
    rise = np.vstack([item.rise for item in nodes.values()])
    height = np.concatenate([item.height for item in nodes.values()])
    variance = np.concatenate([item.height_variance for item in nodes.values()]) * scale**2 * years.size / INDEPENDENT
    centre = values[-1] + height[:, None] * rise
    spread = np.sqrt(variance[:, None] * rise**2 + 2.0 * scale**2)
    probabilities = np.array([0.5, 0.5 - 0.5 * level, 0.5 + 0.5 * level])
    told = np.array([_quantiles(centre[:, k], spread[:, k], weight, probabilities) for k in range(ahead.size)])
    return Scenario(ASSUMPTION, years[-1] + ahead, told[:, 0], told[:, 1], told[:, 2], level, shares)


def _on_grid(years: Floats, values: Floats, ahead: Floats, shape: Callable[[Floats, Floats, Floats], Floats]) -> _Nodes:
    """Fit c0 and c1 at every node of middles from one record before the first sample to one after the last, and widths."""
    span = float(years[-1] - years[0])
    middles, widths = np.meshgrid(
        years[0] + span * np.linspace(-0.75, 2.0, MIDDLES), span * np.geomspace(0.03, 3.0, WIDTHS), indexing="ij"
    )
    m, w = middles.reshape(-1, 1), widths.reshape(-1, 1)
    rows = shape(years[None, :], m, w)
    centred = rows - rows.mean(axis=1, keepdims=True)
    target = values - values.mean()
    power = (centred**2).sum(axis=1)
    bent = power > 1e-6 * years.size
    moment = centred @ target
    height = np.where(bent, moment / np.where(bent, power, 1.0), 0.0)
    rss = np.maximum(float(target @ target) - height * moment, 1e-12 * float(target @ target))
    rise = shape(years[-1] + ahead[None, :], m, w) - rows[:, -1:]
    keep = bent & (height * (values[-1] - values[0]) > 0.0)
    if not keep.any():
        keep = bent
    return _Nodes(rss[keep], height[keep], 1.0 / power[keep], rise[keep])


def _quantiles(centre: Floats, spread: Floats, weight: Floats, probabilities: Floats) -> Floats:
    """Quantiles of a weighted mixture of normal distributions, each stood for by equally probable points."""
    heavy = weight > 1e-6 * float(weight.max())
    points = (centre[heavy, None] + spread[heavy, None] * np.array(DRAWS)).ravel()
    mass = np.repeat(weight[heavy], len(DRAWS))
    order = np.argsort(points)
    reached = (np.cumsum(mass[order]) - 0.5 * mass[order]) / mass.sum()
    return np.asarray(np.interp(probabilities, reached, points[order]))


def describe_scenario(
    samples: Samples, events: Sequence[StationEvent], velocity: VelocityParameters, horizon_a: float, level: float, now: datetime
) -> dict[str, Any]:
    """Return the scenario of a datastream as plain JSON, or why there is none.

    Parameters
    ----------
    samples : Samples
        As stored, flags included; what is later than `now` is not looked at.
    events : sequence of StationEvent
        Offsets of the trajectory are taken off, as for a forecast.
    velocity : VelocityParameters
    horizon_a : float
        Years ahead.
    level : float
        Probability of the interval.
    now : datetime

    Returns
    -------
    dict
        `status` "ok" with `assumption`, `families` and the knots (`time`, `value`, `lower`, `upper`, in the datastream's own unit), or
        "cannot_tell" with `reason` "total", "too_short" or "beyond_record" and the longest horizon.
    """
    if velocity.value_kind == ValueKind.TOTAL:
        return {"status": "cannot_tell", "reason": "total"}
    ready = prepare(samples, events, velocity, now)
    span = float(np.ptp(ready.years[ready.kept])) if ready.kept.any() else 0.0
    period = max(span / BLOCKS, 1.0 / 12.0)
    years, values = blocks(ready.years[ready.kept], without_steps(ready)[ready.kept] / velocity.scale, period)
    if years.size < LEAST_SAMPLES or years[-1] - years[0] < LEAST_SPAN_A:
        return {"status": "cannot_tell", "reason": "too_short", "span_a": span}
    longest = LONGEST_SHARE * float(years[-1] - years[0])
    if horizon_a > longest:
        return {"status": "cannot_tell", "reason": "beyond_record", "longest_a": longest}
    said = long_scenario(years, values, np.linspace(horizon_a / KNOTS, horizon_a, KNOTS), level)
    if said is None:
        return {"status": "cannot_tell", "reason": "no_change"}
    answer: dict[str, Any] = plain(
        {
            "status": "ok",
            "assumption": said.assumption,
            "families": said.weights,
            "level": said.level,
            "end_value": values[-1],
            "time": [time_of(float(year)) for year in said.years],
            "value": said.value,
            "lower": said.lower,
            "upper": said.upper,
        }
    )
    return answer
