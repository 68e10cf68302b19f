"""What the detector alarms on in a seasonal series, sample by sample."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics import detect_in_series


def draw(rng: np.random.Generator) -> Figure:
    """Sixty days of hours with a daily wave, a spike and a level shift."""
    hours = np.arange(24.0 * 60)
    values = np.sin(2.0 * np.pi * hours / 24.0) + rng.normal(0.0, 0.15, hours.size)
    values[700] += 5.0
    values[1100:] += 4.0
    found = detect_in_series(hours * 3600.0, values, True)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(hours / 24.0, values, color="#888888", linewidth=0.8)
    for number, anomaly in enumerate(found.anomalies):
        at = anomaly.start_index
        axis.plot(hours[at] / 24.0, values[at], "v", color="#c2410c", label="alarm" if number == 0 else None)
        axis.annotate(anomaly.kind.replace("_", " "), (hours[at] / 24.0, values[at]), xytext=(4, 4), textcoords="offset points")
    axis.set_xlabel("day")
    axis.set_ylabel("value")
    axis.legend()
    return figure
