"""A re-set mark tied by its neighbours."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.network import tie_by_neighbours


def draw(rng: np.random.Generator) -> Figure:
    """Five years of a mark that was re-set in the third."""
    years = np.arange(11) / 2.0
    neighbours = -8.0 * years + rng.normal(0.0, 0.8, (6, 11))
    mark = -8.0 * years + rng.normal(0.0, 0.5, 11) + np.where(years > 2.2, 112.0, 0.0)
    tie = tie_by_neighbours(mark[5] - mark[4], neighbours[:, 5] - neighbours[:, 4], 0.5)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(years, neighbours.T, color="#999999", linewidth=0.6)
    axis.plot(years, mark, "o", markersize=4, color="#c2410c", label="as stored")
    if tie is not None:
        carried = mark - np.where(years > 2.2, tie.offset, 0.0)
        error = np.where(years > 2.2, np.hypot(0.5, tie.sigma), 0.5)
        axis.errorbar(
            years,
            carried,
            yerr=error,
            fmt="s",
            markersize=4,
            color="#0b5fa5",
            label=f"tied: {tie.offset:.1f} ± {tie.sigma:.1f} mm",
        )
    axis.set(xlabel="years", ylabel="height change, mm")
    axis.legend()
    return figure
