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
