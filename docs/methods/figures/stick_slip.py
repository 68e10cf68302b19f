"""A sticking extensometer and its marked releases."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.compaction import stick_slips


def draw(rng: np.random.Generator) -> Figure:
    """A year of a staircase under 12 mm/a."""
    time = np.datetime64("2024-01-01", "us") + np.arange(366) * np.timedelta64(1, "D")
    ground = 12.0 * np.arange(366) / 365.25
    value = np.floor(ground / 0.9) * 0.9 + rng.normal(0.0, 0.015, 366)
    slips = stick_slips(time, value)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(time, ground, color="#999999", linewidth=1, label="ground")
    axis.plot(time, value, ".", markersize=2, color="#0b5fa5", label="instrument")
    for number, slip in enumerate(slips):
        axis.axvline(slip.time, color="#c2410c", linewidth=0.8, alpha=0.7, label="slip" if number == 0 else None)
    axis.set(ylabel="compaction, mm")
    axis.legend()
    return figure
