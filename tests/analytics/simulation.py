"""Series with known truth: power-law plus white noise on a trajectory, and plain readers of the real files."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from analytics.noise import fractional_filter
from analytics.sampling import Floats, Samples, Times


def coloured_noise(rng: np.random.Generator, n: int, white: float = 3.0, power_law: float = 12.0, index: float = 1.0) -> Floats:
    """White plus power-law noise of n days; `power_law` in unit / a^(index/4)."""
    scale = power_law * (1.0 / 365.25) ** (index / 4.0)
    innovations = rng.normal(size=n)
    return np.asarray(white * rng.normal(size=n) + scale * np.convolve(fractional_filter(index / 2.0, n), innovations)[:n])


def days(n: int, start: str = "2016-01-01") -> Times:
    return np.datetime64(start, "us") + np.arange(n) * np.timedelta64(1, "D")


def hours(n: int, start: str = "2024-01-01") -> Times:
    return np.datetime64(start, "us") + np.arange(n) * np.timedelta64(1, "h")


def years_since(n: int) -> Floats:
    return np.arange(n) / 365.25


def gnss_like(seed: int, n: int, rate: float = -4.0, **noise: float) -> Samples:
    """A daily vertical series with seasons and coloured noise, mm."""
    rng = np.random.default_rng(seed)
    t = years_since(n)
    season = 3.0 * np.sin(2 * np.pi * t) + 1.0 * np.cos(4 * np.pi * t)
    return Samples(days(n), rate * t + season + coloured_noise(rng, n, **noise))


def well_level(seed: int, n: int) -> Floats:
    """Daily depth to water of a confined aquifer, m: recovery, season and slow weather, about 3 cm of scatter a month."""
    rng = np.random.default_rng(seed)
    t = years_since(n)
    weather = np.zeros(n)
    smooth = np.zeros(n)
    for i, kick in enumerate(rng.normal(0.0, 0.09 * np.sqrt(2.0 / 45.0), n - 1)):
        weather[i + 1] = weather[i] * np.exp(-1.0 / 45.0) + kick
        smooth[i + 1] = smooth[i] + (weather[i] - smooth[i]) / 15.0
    return 20.0 + 6.0 * np.exp(-t / 30.0) + 0.5 * np.cos(2 * np.pi * (t - 0.6)) + smooth


def stepped_series(seed: int) -> tuple[Floats, list[int]]:
    """A bare series with known change points, for choosing the change-point settings.

    50 to 1000 samples (log-uniform); none to four changes at least five samples and a thirtieth of the series apart;
    each moves the level by 0.7 to 8 sigma (log-uniform, either sign), one in four changes the spread by a factor of
    0.3 to 3 instead; noise normal or, one time in five, Student-t with four degrees of freedom, one time in two
    autocorrelated with a coefficient of up to 0.8; one time in five a straight trend of up to two sigma in all.
    """
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(50), np.log(1000))))
    apart = max(5, n // 30)
    cuts: list[int] = []
    for at in rng.integers(apart, n - apart, int(rng.choice(5, p=[0.2, 0.25, 0.25, 0.2, 0.1]))):
        if all(abs(int(at) - other) >= apart for other in cuts):
            cuts.append(int(at))
    noise = rng.standard_t(4, n) / np.sqrt(2.0) if rng.random() < 0.2 else rng.normal(size=n)
    if rng.random() < 0.5:
        rho = float(rng.uniform(0.0, 0.8))
        for i in range(1, n):
            noise[i] = rho * noise[i - 1] + np.sqrt(1.0 - rho**2) * noise[i]
    level, spread = np.zeros(n), np.ones(n)
    for cut in cuts:
        if rng.random() < 0.25:
            spread[cut:] *= np.exp(rng.uniform(np.log(0.3), np.log(3.0)))
        else:
            level[cut:] += float(rng.choice([-1.0, 1.0])) * np.exp(rng.uniform(np.log(0.7), np.log(8.0)))
    if rng.random() < 0.2:
        level += np.linspace(0.0, float(rng.uniform(0.0, 2.0)), n)
    return level + spread * noise, sorted(cuts)


def f1_score(annotations: dict[str, list[int]], found: list[int], margin: int = 5) -> float:
    """F1 of the Turing benchmark: several annotators, index 0 always a change point."""
    everyone = {name: set(points) | {0} for name, points in annotations.items()}
    points = set(found) | {0}
    union: set[int] = set().union(*everyone.values())
    precision = len(_matched(union, points, margin)) / len(points)
    recall = float(np.mean([len(_matched(truth, points, margin)) / len(truth) for truth in everyone.values()]))
    return 2.0 * precision * recall / (precision + recall)


def covering(annotations: dict[str, list[int]], found: list[int], n: int) -> float:
    """Mean over the annotators of how well the segments found overlap theirs (Turing benchmark)."""
    segments = _segments(found, n)
    shares = []
    for points in annotations.values():
        total = 0.0
        for low, high in _segments(points, n):
            best = max(_overlap((low, high), other) for other in segments)
            total += (high - low) * best
        shares.append(total / n)
    return float(np.mean(shares))


def _segments(points: list[int], n: int) -> list[tuple[int, int]]:
    edges = [0, *sorted({point for point in points if 0 < point < n}), n]
    return list(pairwise(edges))


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    inner = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return inner / (max(a[1], b[1]) - min(a[0], b[0])) if inner else 0.0


def _matched(truths: set[int], found: set[int], margin: int) -> set[int]:
    """Truths with a found point of their own within the margin."""
    left, matched = set(found), set()
    for truth in truths:
        near = sorted((abs(truth - point), point) for point in left if abs(truth - point) <= margin)
        if near:
            matched.add(truth)
            left.remove(near[0][1])
    return matched


def read_tenv3(path: Path) -> tuple[Floats, Times, dict[str, Floats]]:
    """Decimal years as printed, days, and the three components in mm from the first epoch."""
    rows = [line.split() for line in path.read_text().splitlines()[1:] if line.strip()]
    years = np.array([float(row[2]) for row in rows])
    start = np.datetime64("1858-11-17", "us")
    times = start + np.array([int(row[3]) for row in rows]) * np.timedelta64(1, "D")
    components = {}
    for name, whole, part in (("e", 7, 8), ("n", 9, 10), ("u", 11, 12)):
        metres = np.array([float(row[whole]) + float(row[part]) for row in rows])
        components[name] = 1000.0 * (metres - metres[0])
    return years, times, components


def day_of_year(year: int, day: float) -> float:
    """Decimal year of a day of year counted from 1, on the axis of the product."""
    whole = (dt.date(year, 1, 1) - dt.date(2000, 1, 1)).days
    return 2000.0 + (whole + day - 1.0) / 365.25


@dataclass(frozen=True)
class OffsetSeries:
    """A daily GNSS component with offsets that nobody logged: samples, the true rate and the true offsets."""

    samples: Samples
    years: Floats
    rate: float
    steps: Floats
    sizes: Floats


def offset_series(seed: int, vertical: bool) -> OffsetSeries:
    """A GNSS component as in the blind test of detection (Gazeaux et al. 2013): flicker plus white noise, gaps, many offsets.

    Six to twenty years of days; white noise log-uniform in 0.7 to 1.6 mm and flicker in 1.5 to 4 mm / a^(1/4) horizontally, twice that
    vertically; a rate of N(0, 20) or N(0, 4) mm/a; annual and semi-annual terms; one offset in about four years (Poisson) at
    uniform dates, sizes log-uniform in 1 to 15 mm with either sign; four percent of the days missing and up to three gaps
    of up to 120 days, some of which hide the date of an offset.
    """
    rng = np.random.default_rng(seed + (500_000 if vertical else 0))
    n = int(rng.uniform(6.0, 20.0) * 365.25)
    factor = 2.0 if vertical else 1.0
    white = factor * float(np.exp(rng.uniform(np.log(0.7), np.log(1.6))))
    flicker = factor * float(np.exp(rng.uniform(np.log(1.5), np.log(4.0))))
    years = years_since(n)
    rate = float(rng.normal(0.0, 4.0 if vertical else 20.0))
    phase, half = rng.uniform(0.0, 2.0 * np.pi, 2)
    value = rate * years + factor * (1.2 * np.sin(2 * np.pi * years + phase) + 0.5 * np.sin(4 * np.pi * years + half))
    value += coloured_noise(rng, n, white, flicker)
    steps = np.sort(rng.uniform(years[20], years[-20], rng.poisson(years[-1] / 4.0)))
    sizes = rng.choice([-1.0, 1.0], steps.size) * np.exp(rng.uniform(0.0, np.log(15.0), steps.size))
    for step, size in zip(steps, sizes, strict=True):
        value += size * (years >= step)
    keep = rng.random(n) > 0.04
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(30, n - 150))
        keep[at : at + int(rng.integers(5, 120))] = False
    keep[[0, -1]] = True
    samples = Samples(days(n, "2008-01-01")[keep], value[keep])
    return OffsetSeries(samples, years[keep], rate, steps, sizes)


def match_offsets(truth: Floats, found: Floats, within_d: float = 15.0) -> list[tuple[int, int]]:
    """Pairs of true and found offsets that are nearest to each other within some days, each used once."""
    pairs = sorted(
        (abs(t - f), i, j) for i, t in enumerate(truth) for j, f in enumerate(found) if abs(t - f) <= within_d / 365.25
    )
    left, right, matched = set(range(truth.size)), set(range(found.size)), []
    for _, i, j in pairs:
        if i in left and j in right:
            matched.append((i, j))
            left.discard(i)
            right.discard(j)
    return matched
