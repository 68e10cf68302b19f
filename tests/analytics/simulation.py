"""Series with known truth: power-law plus white noise on a trajectory, and plain readers of the real files."""

from __future__ import annotations

import datetime as dt
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
