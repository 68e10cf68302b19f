"""A head, its model from rain and evaporation, and the band."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.heads import fit_heads, simulate


def draw(rng: np.random.Generator) -> Figure:
    """Eight years of fortnightly heads."""
    days = np.datetime64("2012-01-01", "us") + np.arange(8 * 365) * np.timedelta64(1, "D")
    rain = rng.gamma(0.2, 0.012, days.size)
    evaporation = 0.0015 * (1.0 - np.cos(2.0 * np.pi * np.arange(days.size) / 365.25))
    truth = simulate(rain, evaporation, np.array([450.0, 1.1, 110.0, -1.1, 20.0, 40.0]))
    at = np.arange(200, days.size, 14)
    noise = np.zeros(at.size)
    for index in range(1, at.size):
        noise[index] = np.exp(-14.0 / 40.0) * noise[index - 1] + rng.normal(0.0, 0.05)
    heads = truth[at] + noise
    found = fit_heads((days[at], heads), days, rain, evaporation)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    if found is not None:
        half = found.interval(0.95)
        axis.fill_between(
            days, found.simulated - half, found.simulated + half, color="#0b5fa5", alpha=0.15, linewidth=0, label="95 %"
        )
        label = f"model, {found.explained_variance:.1f} % explained"
        axis.plot(days, found.simulated, color="#0b5fa5", linewidth=0.8, label=label)
    axis.plot(days[at], heads, ".", markersize=3, color="#c2410c", label="observed")
    axis.set(ylabel="head, m")
    axis.legend()
    return figure
