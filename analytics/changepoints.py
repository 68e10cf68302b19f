"""Change points of a bare series: where level, trend or spread change for good.

The series is cut into pieces with a level or a straight line each, and one spread for all or one for each: four families, every one of
them cut at its best by dynamic programming for every number of changes. Families and numbers are compared by the Bayesian information
criterion, together with series that do not change at all but wander (AR(1) about a level or a line): what wandering explains more
cheaply is no change. Lines are only ever an approximation, so a misfit that is small against the whole series must not ask for more
pieces: every variance is taken with a floor. Where what remains within the pieces is autocorrelated, gains are divided by the variance
inflation of an AR(1). Long series are brought to block medians first, and the change is then placed on the samples.
This file holds that search; steps of geodetic series, whose trajectory is known, are those of `steps`. It finishes with `detect_change_points`.

References: Bellman and Roth (1969), doi:10.1080/01621459.1969.10501038; Yao (1988), doi:10.1016/0167-7152(88)90118-6; Bai and Perron
(2003), doi:10.1002/jae.659.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from analytics.sampling import Floats

Indices = npt.NDArray[np.int64]
_WANDERING = (0.5, 0.8, 0.9, 0.95, 0.98)
"""Lag-1 correlations of the series without changes."""

_LEAST_VARIANCE = 1e-9
_NEIGHBOURHOOD = 60
"""Samples on either side that tell what a change is a change of."""


@dataclass(frozen=True)
class ChangePointSettings:
    """The one default setting; docs/methods/steps.md says on what it was chosen.

    Attributes
    ----------
    minimum_length : int
        Fewest samples of a piece.
    most : int
        Most change points of a series.
    blocks : int
        Longer series are searched on so many block medians.
    penalty : float
        What a change must gain, in units of the Bayesian criterion: ln n for its place and for each parameter of a piece.
    floor : float
        Standard deviation that every piece has at least, as a share of that of the whole series.
    """

    minimum_length: int = 5
    most: int = 8
    blocks: int = 300
    penalty: float = 1.1
    floor: float = 0.2


@dataclass(frozen=True)
class ChangePoint:
    """A change; `index` is the first sample after it, `score` is 1 at the limit of acceptance, `kind` is level, trend or spread."""

    index: int
    kind: str
    score: float


@dataclass(frozen=True)
class _Family:
    """What a piece is: a level or a line, with a spread of its own or that of the whole series."""

    line: bool
    own_spread: bool

    @property
    def size(self) -> int:
        """Parameters of a piece."""
        return 1 + self.line + self.own_spread


_FAMILIES = tuple(_Family(line, own) for line, own in product((False, True), repeat=2))


@dataclass(frozen=True)
class _Cut:
    """A series cut up: -2 ln likelihood up to a constant, and where pieces begin but the first."""

    deviance: float
    places: tuple[int, ...]


class _Sums:
    """Running sums of a series, from which the misfit of any piece follows at once."""

    def __init__(self, values: Floats) -> None:
        n = values.size
        t = (np.arange(n) - 0.5 * (n - 1)) / max(n, 1)
        self.n = n
        self._sums = [np.concatenate(([0.0], np.cumsum(part))) for part in (values, values**2, t, t * t, t * values)]

    def misfit(self, begin: Indices, end: Indices, line: bool) -> Floats:
        """Return the sum of squares about the level or line of the samples `begin` to `end` - 1 of each piece (0 where it is empty)."""
        y, yy, t, tt, ty = (part[end] - part[begin] for part in self._sums)
        n = np.maximum(end - begin, 1).astype(np.float64)
        squares = yy - y * y / n
        if line:
            spread = tt - t * t / n
            crossed = ty - t * y / n
            squares = squares - np.where(spread > 1e-12, crossed**2 / np.maximum(spread, 1e-12), 0.0)
        return np.asarray(np.maximum(squares, 0.0))


def detect_change_points(values: Floats, settings: ChangePointSettings | None = None) -> list[ChangePoint]:
    """Find lasting changes of level, trend or spread.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite values in time order; the times play no part.
    settings : ChangePointSettings, optional

    Returns
    -------
    list of ChangePoint
        In order of their index.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(2).normal(size=200)
    >>> x[120:] += 4.0
    >>> [(p.index, p.kind) for p in detect_change_points(x)]
    [(120, 'level')]
    """
    chosen = settings or ChangePointSettings()
    n = values.size
    if n <= 2 * chosen.minimum_length or float(np.ptp(values)) == 0.0:
        return []
    block = max(1, -(-n // chosen.blocks))
    coarse = values if block == 1 else np.median(values[: n - n % block].reshape(-1, block), axis=1)
    spread = float(coarse.std())
    if spread == 0.0:
        return []
    family, cut, scores = _segment((coarse - coarse.mean()) / spread, chosen)
    reach = block * max(1, chosen.minimum_length // 2)  # so that no two changes can be placed past each other
    places = [place if block == 1 else _placed(values, place * block, reach, family) for place in cut.places]
    edges = [0, *places, n]
    return [
        ChangePoint(place, _kind(values, before, place, after, family), score)
        for place, before, after, score in zip(places, edges[:-2], edges[2:], scores, strict=True)
    ]


def _segment(standard: Floats, settings: ChangePointSettings) -> tuple[_Family, _Cut, list[float]]:
    """Return the family and cut with the least criterion, and by how much each change passes."""
    unit = float(np.log(standard.size))
    cuts = {family: _best_cuts(standard, family, settings) for family in _FAMILIES}

    def criterion(family: _Family, cut: _Cut, inflation: float = 1.0) -> float:
        price = settings.penalty * (1 + family.size) * len(cut.places)
        return cut.deviance / inflation + unit * (family.size + price)

    family, cut = min(((f, c) for f, found in cuts.items() for c in found), key=lambda pair: criterion(*pair))
    if _wandering(standard, settings) <= criterion(family, cut):
        return family, _Cut(0.0, ()), []
    inflation = _inflation(standard, cut, family, settings.floor)
    cut = min(cuts[family], key=lambda one: criterion(family, one, inflation))
    price = settings.penalty * (1 + family.size) * unit * inflation
    return family, cut, [(one - cut.deviance) / price for one in _without_each(standard, family, cut, settings.floor)]


def _deviance(squares: Floats, lengths: Floats, floor: float) -> Floats:
    """-2 ln likelihood of pieces with a spread of their own, up to a constant."""
    return np.asarray(lengths * np.log(squares / np.maximum(lengths, 1.0) + floor**2 + _LEAST_VARIANCE))


def _best_cuts(standard: Floats, family: _Family, settings: ChangePointSettings) -> list[_Cut]:
    """Return the best cut for every number of changes, by dynamic programming over all pieces."""
    n, least = standard.size, settings.minimum_length
    begin, last = np.indices((n, n))
    lengths = last - begin + 1
    cost = _Sums(standard).misfit(np.minimum(begin, last), last + 1, family.line)
    if family.own_spread:
        cost = _deviance(cost, np.maximum(lengths, 1).astype(np.float64), settings.floor)
    cost[lengths < least] = np.inf
    best, came = [cost[0]], []
    for _ in range(min(settings.most, n // least - 1)):
        total = best[-1][:-1, None] + cost[1:]
        came.append(np.argmin(total, axis=0))
        best.append(np.take_along_axis(total, came[-1][None], axis=0)[0])
    found = []
    for changes, reached in enumerate(best):
        places, end = [], n - 1
        for back in came[:changes][::-1]:
            end = int(back[end])
            places.append(end + 1)
        value = float(reached[-1])
        if not family.own_spread:
            value = float(_deviance(np.array(value), np.array(float(n)), settings.floor))
        if np.isfinite(value):
            found.append(_Cut(value, tuple(places[::-1])))
    return found


def _without_each(standard: Floats, family: _Family, cut: _Cut, floor: float) -> list[float]:
    """Return the deviance of the cut without each of its changes in turn."""
    sums, n = _Sums(standard), standard.size

    def deviance(places: tuple[int, ...]) -> float:
        edges = np.array([0, *places, n])
        squares = sums.misfit(edges[:-1], edges[1:], family.line)
        if family.own_spread:
            return float(_deviance(squares, np.diff(edges).astype(np.float64), floor).sum())
        return float(_deviance(squares.sum(), np.array(float(n)), floor))

    return [deviance(cut.places[:number] + cut.places[number + 1 :]) for number in range(len(cut.places))]


def _wandering(standard: Floats, settings: ChangePointSettings) -> float:
    """Return the least criterion of an AR(1) about one level or line; its innovations have the floor of two neighbouring values."""
    n, unit = standard.size, float(np.log(standard.size))
    design = np.stack([np.ones(n), (np.arange(n) - 0.5 * (n - 1)) / n], axis=1)
    least = np.inf
    for phi, size in product(_WANDERING, (1, 2)):
        whole = np.column_stack((design[:, :size], standard))
        white = np.vstack((np.sqrt(1.0 - phi**2) * whole[:1], whole[1:] - phi * whole[:-1]))
        _, squares, _, _ = np.linalg.lstsq(white[:, :size], white[:, size], rcond=None)
        floor = settings.floor * np.sqrt(1.0 + phi**2)
        deviance = float(_deviance(squares.sum(), np.array(float(n)), floor)) - float(np.log(1.0 - phi**2))
        least = min(least, deviance + unit * (size + 1))
    return least


def _inflation(standard: Floats, cut: _Cut, family: _Family, floor: float) -> float:
    """Variance inflation of means by the lag-1 autocorrelation within the pieces, at least 1; the floor is white."""
    edges = [0, *cut.places, standard.size]
    within = np.concatenate([_residual(standard[a:b], family) for a, b in pairwise(edges)])
    power = float(within @ within) + within.size * floor**2
    rho = min(max(float(within[1:] @ within[:-1]) / power, 0.0), 0.99)
    return (1.0 + rho) / (1.0 - rho)


def _residual(piece: Floats, family: _Family) -> Floats:
    left = piece - piece.mean()
    if family.line and piece.size > 1:
        t = np.arange(piece.size) - 0.5 * (piece.size - 1)
        left = left - t * float(t @ left) / float(t @ t)
    return np.asarray(left)


def _placed(values: Floats, near: int, reach: int, family: _Family) -> int:
    """Put a change found on blocks on the best sample within reach."""
    low, high = max(near - reach, 0), min(near + reach, values.size)
    window = values[low:high] - values[low:high].mean()
    sums, at = _Sums(window), np.arange(2, window.size - 1)
    start, end = np.zeros_like(at), np.full_like(at, window.size)
    before, after = sums.misfit(start, at, family.line), sums.misfit(at, end, family.line)
    if not family.own_spread:
        return low + int(at[np.argmin(before + after)])
    least = 1e-6 * float(window.std())
    return low + int(at[np.argmin(_deviance(before, at * 1.0, least) + _deviance(after, (end - at) * 1.0, least))])


def _kind(values: Floats, begin: int, place: int, end: int, family: _Family) -> str:
    """Name what changed: the level where it moved by more than the noise beside it (and, of lines, than they turn), else trend or spread."""
    before = values[max(begin, place - _NEIGHBOURHOOD) : place]
    after = values[place : min(end, place + _NEIGHBOURHOOD)]
    noise = 1.4826 * float(np.median(np.abs(_residual(before, family))))
    if family.line:
        slopes = [float(np.polyfit(np.arange(part.size), part, 1)[0]) if part.size > 1 else 0.0 for part in (before, after)]
        moved = abs(after.mean() - before.mean() - 0.5 * (slopes[0] * before.size + slopes[1] * after.size))
        turned = 0.5 * abs(slopes[1] - slopes[0]) * min(before.size, after.size)
        return "level" if moved > max(noise, turned) else "trend"
    return "level" if abs(float(np.median(after) - np.median(before))) > noise else "spread"
