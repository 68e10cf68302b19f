"""Wellhead temperature at equal flow."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.geothermal import is_equal_flow, monthly_trend


def draw(rng: np.random.Generator) -> Figure:
    """Two years that cool by 0.7 K/a, a quarter of the samples taken at low flow."""
    time = np.datetime64("2023-01-01", "us") + np.arange(731) * np.timedelta64(1, "D")
    years = np.arange(731) / 365.25
    low = rng.random(731) < 0.25
    flow = np.where(low, 8.0, 60.0)
    value = 64.0 - 0.7 * years + rng.normal(0.0, 0.15, 731) - np.where(low, 5.0 - 2.0 * years, 0.0)
    mask, _ = is_equal_flow(time, time, flow)
    trend = monthly_trend(time[mask], value[mask])
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(time[~mask], value[~mask], "x", markersize=3, color="#999999", label="low flow, or just started")
    axis.plot(time[mask], value[mask], ".", markersize=3, color="#0b5fa5", label="equal flow")
    if trend is not None:
        line = value[mask].mean() + trend.rate_per_a * (years - years[mask].mean())
        axis.plot(
            time, line, color="#c2410c", label=f"{trend.rate_per_a:.2f} ± {trend.sigma_per_a:.2f} K/a, p = {trend.p_value:.0e}"
        )
    axis.set(ylabel="wellhead temperature, degC")
    axis.legend()
    return figure
