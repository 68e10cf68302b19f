"""A kriged funnel and its standard deviation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.kriging import krige
from analytics.spatial import class_areas, grid_over
from analytics.variogram import fit_by_likelihood


def draw(rng: np.random.Generator) -> Figure:
    """Eighty marks on a funnel of 30 mm/a."""
    points = rng.uniform(-6000.0, 6000.0, (80, 2))
    rates = 30.0 * np.exp(-(points**2).sum(axis=1) / 2.0 / 2500.0**2) + rng.normal(0.0, 1.0, 80)
    sigma = np.ones(80)
    centres, cell = grid_over(points, 300.0, 1500.0)
    surface = krige(points, rates, centres, fit_by_likelihood(points, rates, sigma), sigma)
    areas = class_areas(surface.value, surface.sigma, cell**2, [10.0, 20.0])
    figure = Figure(figsize=(7, 3))
    for axis, values, name in zip(
        figure.subplots(1, 2), (surface.value, surface.sigma), ("subsidence, mm/a", "sigma, mm/a"), strict=True
    ):
        drawn = axis.tricontourf(centres[:, 0] / 1000.0, centres[:, 1] / 1000.0, values, levels=8, cmap="YlOrRd")
        axis.plot(points[:, 0] / 1000.0, points[:, 1] / 1000.0, ".", markersize=2, color="black")
        axis.set(xlabel="km", aspect="equal")
        axis.set_title(name, fontsize=9)
        figure.colorbar(drawn, ax=axis)
    told = (f">{a.beyond:.0f} mm/a: {a.area_m2 / 1e6:.1f} ({a.low_m2 / 1e6:.1f} to {a.high_m2 / 1e6:.1f}) km2" for a in areas)
    figure.suptitle(", ".join(told), fontsize=9)
    return figure
