"""Flags beside the values: a spike and a sensor that stands still, as the tests of the manuals see them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.qartod import combine, flat_line, spike


def draw(rng: np.random.Generator) -> Figure:
    """Ten days of a depth to water at hourly steps: a tide, two spikes, half a day frozen."""
    hours = np.arange(240.0)
    depth = 5.0 + 0.2 * np.sin(2.0 * np.pi * hours / 12.42) + rng.normal(0.0, 0.01, hours.size)
    depth[60] += 1.2
    depth[150] -= 0.9
    depth[180:196] = depth[180]
    flags = combine([spike(depth, 0.5, 1.0), flat_line(depth, hours * 3600.0, 6 * 3600.0, 12 * 3600.0)])
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(hours / 24.0, depth, color="#888888", linewidth=0.8)
    for flag, colour, word in ((3, "#b45309", "suspect (3)"), (4, "#b91c1c", "fail (4)")):
        at = np.flatnonzero(flags == flag)
        axis.plot(hours[at] / 24.0, depth[at], "o", markersize=4, color=colour, label=word)
    axis.invert_yaxis()
    axis.set_xlabel("day")
    axis.set_ylabel("depth to water (m)")
    axis.legend()
    return figure
