"""Settlement along a line and the angular distortion of its spans."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.spatial import DistortionLimit, angular_distortions, judge_span


def draw(rng: np.random.Generator) -> Figure:
    """Pillars every 32 m over the edge of a funnel."""
    chainage = np.arange(0.0, 2000.0, 32.0)
    settlement = 90.0 * np.exp(-(((chainage - 900.0) / 75.0) ** 2)) + rng.normal(0.0, 0.4, chainage.size)
    limits = [DistortionLimit("1/1000", 1 / 1000, "example"), DistortionLimit("1/1500", 1 / 1500, "example")]
    spans = angular_distortions(chainage, settlement)
    figure = Figure(figsize=(7, 3))
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(chainage, settlement, ".-", markersize=4, linewidth=0.8, color="#0b5fa5")
    upper.invert_yaxis()
    upper.set(ylabel="settlement, mm")
    colours = ["#c2410c" if any(v.exceeded for v in judge_span(span, limits)) else "#8fbfe0" for span in spans]
    lower.bar([s.start_m + s.span_m / 2 for s in spans], [s.distortion * 1000.0 for s in spans], width=24.0, color=colours)
    for limit in limits:
        lower.axhline(limit.largest * 1000.0, color="black", linewidth=0.6, linestyle="--")
    lower.set(xlabel="chainage, m", ylabel="mm/m")
    return figure
