"""Departures of marks at a re-adjustment of their datum."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.network import common_steps


def draw(rng: np.random.Generator) -> Figure:
    """Sixty marks, six campaigns, a datum that steps by 7 mm at the fifth."""
    days = np.tile(np.arange(6) * 365.25, (60, 1))
    values = -rng.uniform(0.0, 20.0, (60, 1)) * days / 365.25 + rng.normal(0.0, 1.0, (60, 6))
    values[:, 4:] += 7.0 + rng.normal(0.0, 1.0, (60, 1))
    (step,) = common_steps(values, days)
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2)
    left.plot(days[0] / 365.25, (values - values[:, :1]).T, color="#0b5fa5", linewidth=0.5, alpha=0.6)
    left.axvline(step.campaign - 0.5, color="#c2410c", linewidth=1)
    left.set(xlabel="years", ylabel="height change, mm")
    rates = np.median(np.diff(values[:, :4], axis=1), axis=1)
    right.hist(values[:, 4] - values[:, 3] - rates, bins=15, color="#8fbfe0")
    right.axvline(step.size, color="#c2410c")
    right.set(xlabel="departure at the fifth campaign, mm", title=f"common step {step.size:.1f} ± {step.sigma:.1f} mm")
    return figure
