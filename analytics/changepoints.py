"""Change points of a bare series: where level or spread change for good.

Binary segmentation under a normal likelihood with mean and variance of each segment, judged by the modified
BIC of Zhang and Siegmund. Where what remains within the segments is autocorrelated, every gain is divided
by the variance inflation that an AR(1) of the same coefficient causes, so that wandering noise does not
split itself. Long series are brought to block medians first, and the change is then placed on the samples.
This file holds that search; steps of geodetic series, whose trajectory is known, are those of `steps`.

References: Scott and Knott (1974), doi:10.2307/2529204; Zhang and Siegmund (2007),
doi:10.1111/j.1541-0420.2006.00662.x.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analytics.sampling import Floats


@dataclass(frozen=True)
class ChangePointSettings:
    """The one default setting, chosen on simulations (`benchmarks/bench_analytics.py --change-points`).

    Attributes
    ----------
    minimum_length : int
        Fewest samples of a segment.
    most : int
        Most change points of a series.
    blocks : int
        Longer series are searched on so many block medians.
    penalty : float
        What a change must gain, in units of the modified BIC of mean and variance (4 ln n).
    """

    minimum_length: int = 5
    most: int = 5
    blocks: int = 2000
    penalty: float = 1.25


@dataclass(frozen=True)
class ChangePoint:
    """A change; `index` is the first sample after it, `score` is 1 at the limit of acceptance."""

    index: int
    kind: str
    score: float


def _gains(values: Floats, minimum: int) -> Floats:
    """Twice the log-likelihood gained by splitting before each index; -inf where a part is too short."""
    n = values.size
    total = np.concatenate(([0.0], np.cumsum(values)))
    square = np.concatenate(([0.0], np.cumsum(values**2)))
    at = np.arange(n + 1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.maximum(square / at - (total / at) ** 2, 1e-12)
        rest = n - at
        right = np.maximum((square[-1] - square) / rest - ((total[-1] - total) / rest) ** 2, 1e-12)
        whole = max(float(square[-1] / n - (total[-1] / n) ** 2), 1e-12)
        gain = n * np.log(whole) - at * np.log(left) - rest * np.log(right)
        gain -= np.log(at / n) + np.log(rest)
    gain[:minimum] = -np.inf
    gain[n - minimum + 1 :] = -np.inf
    return np.asarray(gain)


def _inflation(values: Floats, cuts: list[int]) -> float:
    """Variance inflation of segment means by the lag-1 autocorrelation within the segments, at least 1."""
    edges = [0, *sorted(cuts), values.size]
    within = np.concatenate([values[a:b] - values[a:b].mean() for a, b in pairwise(edges)])
    power = float(within @ within)
    if power <= 0.0:
        return 1.0
    rho = float(within[1:] @ within[:-1]) / power
    rho = min(max(rho, 0.0), 0.99)
    return (1.0 + rho) / (1.0 - rho)


def detect_change_points(values: Floats, settings: ChangePointSettings | None = None) -> list[ChangePoint]:
    """Find lasting changes of level or spread.

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
    if n < 4 * chosen.minimum_length or float(np.ptp(values)) == 0.0:
        return []
    block = max(1, -(-n // chosen.blocks))
    if block > 1:
        usable = n - n % block
        coarse = np.median(values[:usable].reshape(-1, block), axis=1)
    else:
        coarse = values
    spread = float(coarse.std())
    if spread == 0.0:
        return []
    standard = (coarse - coarse.mean()) / spread
    found = _segment(standard, chosen)
    return [_place(values, cut * block, block, score) for cut, score in sorted(found)]


def _segment(standard: Floats, settings: ChangePointSettings) -> list[tuple[int, float]]:
    """Greedy splits of the segment that gains most, then dropping what the autocorrelation explains."""
    penalty = settings.penalty * 4.0 * np.log(standard.size)
    segments = [(0, standard.size)]
    found: list[tuple[int, float]] = []
    while len(found) < settings.most:
        best: tuple[float, int, tuple[int, int]] | None = None
        for low, high in segments:
            if high - low < 2 * settings.minimum_length:
                continue
            gain = _gains(standard[low:high], settings.minimum_length)
            at = int(np.argmax(gain))
            if best is None or gain[at] > best[0]:
                best = (float(gain[at]), low + at, (low, high))
        if best is None or best[0] <= penalty:
            break
        segments.remove(best[2])
        segments += [(best[2][0], best[1]), (best[1], best[2][1])]
        found.append((best[1], best[0] / penalty))
    inflation = _inflation(standard, [cut for cut, _ in found])
    return [(cut, score / inflation) for cut, score in found if score > inflation]


def _place(values: Floats, near: int, block: int, score: float) -> ChangePoint:
    """Put a change found on blocks on the sample, and name what changed."""
    if block > 1:
        low, high = max(near - 4 * block, 0), min(near + 4 * block, values.size)
        gain = _gains(values[low:high], max(2, block // 2))
        near = low + int(np.argmax(gain))
    before, after = values[max(0, near - 60) : near], values[near : near + 60]
    noise = 1.4826 * float(np.median(np.abs(before - np.median(before)))) if before.size else 0.0
    moved = abs(float(np.median(after) - np.median(before))) if before.size and after.size else 0.0
    return ChangePoint(int(near), "level" if moved > noise else "spread", float(score))
