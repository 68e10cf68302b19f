"""A simulated geothermal well: flow by season and hour, its totaliser, temperature, pressure and dynamic level.

This file finishes with `well_curves`.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from service.demo.ground import YEAR_D
from service.demo.noise import Array, autoregressive, first_order
from service.demo.signals import Curve, on_grid


def well_curves(n: int, first: datetime, *, hot: bool, rng: np.random.Generator) -> dict[str, tuple[Curve, float, int]]:
    """Return curve, instrument noise and printed digits by observed property.

    Parameters
    ----------
    n
        Days of the simulation.
    first
        Its first day.
    hot
        The hotter and larger well (64 degC) rather than the smaller one (43 degC).
    rng
        Source of randomness.

    Notes
    -----
    Dynamic depth to water = static depth + specific drawdown x slow mean flow + slow decline; the wellhead temperature falls slightly
    over the years and with low flow (the fluid cools on its way up).
    """
    days = np.arange(n, dtype=np.float64)
    season = np.cos(2.0 * np.pi * (days + first.timetuple().tm_yday - 20.0) / YEAR_D)
    mean_flow = float(rng.uniform(28.0, 31.0) if hot else rng.uniform(22.0, 25.0))
    daily_flow = mean_flow * (1.0 + 0.15 * season) + autoregressive(n, 0.02 * mean_flow, 5.0, rng)
    temperature = (
        (64.0 if hot else 43.0)
        - 0.04 * days / YEAR_D
        + 0.25 * (daily_flow / mean_flow - 1.0)
        + autoregressive(n, 0.06, 30.0, rng)
    )
    specific_m_per_m3h = float(rng.uniform(0.9, 1.3))
    slow_flow = first_order(daily_flow, 1.0, 20.0)
    level = float(rng.uniform(20.0, 28.0)) + specific_m_per_m3h * slow_flow + 0.25 * days / YEAR_D
    pressure = 0.32 + 0.002 * (mean_flow - daily_flow) + autoregressive(n, 0.004, 10.0, rng)
    return {
        "abstraction_rate": (_with_hours(on_grid(daily_flow), mean_flow), 0.01 * mean_flow, 2),
        "abstraction_total": (_totaliser(daily_flow, mean_flow, float(rng.uniform(5e4, 2e5))), 0.0, 1),
        "wellhead_temperature": (on_grid(temperature), 0.08, 2),
        "wellhead_pressure": (on_grid(pressure), 0.002, 4),
        "dynamic_depth_to_water": (on_grid(level), 0.02, 2),
    }


def _with_hours(slow: Curve, mean_flow: float) -> Curve:
    def curve(days: Array) -> Array:
        return np.asarray(slow(days) + 0.06 * mean_flow * np.sin(2.0 * np.pi * days))

    return curve


def _totaliser(daily_flow: Array, mean_flow: float, start_m3: float) -> Curve:
    """Return the exact integral of the flow: trapezium between the days plus the integral of the daily wave."""
    total = start_m3 + np.concatenate([[0.0], np.cumsum((daily_flow[1:] + daily_flow[:-1]) / 2.0 * 24.0)])
    grid = np.arange(len(daily_flow), dtype=np.float64)
    wave = 0.06 * mean_flow * 24.0 / (2.0 * np.pi)

    def curve(days: Array) -> Array:
        whole = np.clip(np.floor(days).astype(np.int64), 0, len(daily_flow) - 2)
        part = days - whole
        flow_here = daily_flow[whole] + (daily_flow[whole + 1] - daily_flow[whole]) * part
        within = (daily_flow[whole] + flow_here) / 2.0 * part * 24.0
        return np.asarray(np.interp(whole, grid, total) + within + wave * (1.0 - np.cos(2.0 * np.pi * days)))

    return curve
