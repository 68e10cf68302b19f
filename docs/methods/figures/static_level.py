"""Depths to water of a warming well, as measured and reduced."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.geothermal import is_shut_in, thermal_rise_m


def draw(rng: np.random.Generator) -> Figure:
    """Sixty days of ten-day cycles while the column warms from 50 to 64 degrees."""
    hours = np.arange(24 * 60)
    time = np.datetime64("2024-01-01", "us") + hours * np.timedelta64(1, "h")
    flow = np.where(hours % 240 < 144, 60.0, 0.0)
    temperature = 50.0 + 14.0 * hours / hours[-1]
    rise = thermal_rise_m(1500.0, temperature, 50.0)
    depth = 40.0 + np.where(flow > 0.0, 15.0, 0.0) - rise + rng.normal(0.0, 0.1, hours.size)
    still = is_shut_in(time, time, flow)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(time, depth, color="#bbbbbb", linewidth=0.8, label="measured")
    axis.plot(time[still], depth[still], ".", markersize=3, color="#c2410c", label="shut in")
    axis.plot(time[still], (depth + rise)[still], ".", markersize=3, color="#0b5fa5", label="shut in, reduced to 50 degC")
    axis.invert_yaxis()
    axis.set(ylabel="depth to water, m")
    axis.legend(loc="lower left")
    return figure
