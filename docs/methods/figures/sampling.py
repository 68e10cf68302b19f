"""Hours of a tidal well brought to days."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.sampling import Samples, daily, decimal_years


def draw(rng: np.random.Generator) -> Figure:
    """A semi-diurnal tide of 0.3 m disappears, the pumping stays."""
    time = np.datetime64("2024-01-01", "us") + np.arange(24 * 40) * np.timedelta64(1, "h")
    hour = np.arange(time.size)
    slow = 10.0 + 0.4 * np.tanh((hour - 480.0) / 60.0)
    value = slow + 0.3 * np.sin(2.0 * np.pi * hour / 12.42) + rng.normal(0.0, 0.01, hour.size)
    days = daily(Samples(time, value), "mean", 8.0)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(decimal_years(time), value, color="#bbbbbb", linewidth=0.8, label="hours")
    axis.plot(decimal_years(days.time), days.value, "o", markersize=3, color="#0b5fa5", label="days after Godin's filter")
    axis.plot(decimal_years(time), slow, color="#c2410c", linewidth=1, label="without the tide")
    axis.set_xlabel("year")
    axis.set_ylabel("depth to water [m]")
    axis.legend()
    return figure
